//! An allocator that counts what the process holds.
//!
//! Planning has a thread of its own, so counters are the process's; [`measure`] lets one thread at a time measure.

use mimalloc::MiMalloc;
use std::alloc::{GlobalAlloc, Layout};
use std::sync::atomic::{AtomicIsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// The allocator of the binary, counting. It matters which one: a reservation beyond all memory, of which nothing is
/// touched, is refused by others.
#[derive(Debug, Clone, Copy, Default)]
pub struct Counting;

static HELD: AtomicIsize = AtomicIsize::new(0);
static PEAK: AtomicIsize = AtomicIsize::new(0);
static MEASURING: Mutex<()> = Mutex::new(());

fn count(change: isize) {
    let now = HELD.fetch_add(change, Ordering::Relaxed) + change;
    PEAK.fetch_max(now, Ordering::Relaxed);
}

// SAFETY: every call goes to that allocator with its own arguments.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's layout is passed on.
        unsafe { MiMalloc.alloc(layout) }
    }

    unsafe fn alloc_zeroed(&self, layout: Layout) -> *mut u8 {
        count(layout.size() as isize);
        // SAFETY: the caller's layout is passed on.
        unsafe { MiMalloc.alloc_zeroed(layout) }
    }

    unsafe fn dealloc(&self, ptr: *mut u8, layout: Layout) {
        count(-(layout.size() as isize));
        // SAFETY: `ptr` came from that allocator with this layout.
        unsafe { MiMalloc.dealloc(ptr, layout) }
    }

    unsafe fn realloc(&self, ptr: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        // Both may be there while the content moves.
        count(new_size as isize);
        count(-(layout.size() as isize));
        // SAFETY: `ptr` came from that allocator with this layout.
        unsafe { MiMalloc.realloc(ptr, layout, new_size) }
    }
}

/// Runs `work` and gives the most bytes that were held at once beyond what was held before; others that measure wait.
pub fn measure(work: impl FnOnce()) -> usize {
    let _alone = MEASURING.lock().unwrap_or_else(PoisonError::into_inner);
    let before = HELD.load(Ordering::Relaxed);
    PEAK.store(before, Ordering::Relaxed);
    work();
    usize::try_from(PEAK.load(Ordering::Relaxed) - before).unwrap_or(0)
}
