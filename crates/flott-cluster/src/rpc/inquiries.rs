//! Questions that a TaskManager was asked ([`Inquiries`]), each known by its number until it is answered.

use super::messages::FromJobManager;
use crate::inquiry::{Answer, InquiryError, Question};
use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::mpsc::UnboundedSender;
use tokio::sync::{Semaphore, oneshot};

/// Most questions that a TaskManager is asked at a time: answers share its connection with reports.
const AT_A_TIME: usize = 4;

/// What is answered to one.
pub(super) type Answered = Result<Answer, InquiryError>;

/// The questions to one TaskManager that are open.
pub(super) struct Inquiries {
    turns: Semaphore,
    open: Mutex<Open>,
}

#[derive(Default)]
struct Open {
    next: u64,
    waiting: HashMap<u64, oneshot::Sender<Answered>>,
    /// Why the TaskManager is gone.
    lost: Option<String>,
}

impl Inquiries {
    pub(super) fn new() -> Self {
        Self {
            turns: Semaphore::new(AT_A_TIME),
            open: Mutex::default(),
        }
    }

    fn open(&self) -> MutexGuard<'_, Open> {
        self.open.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Asks when its turn has come, and waits for the answer. Cancel-safe: what nobody waits for any more is not heard.
    pub(super) async fn ask(&self, outbox: &UnboundedSender<FromJobManager>, question: Question) -> Answered {
        // Nobody closes it.
        let _turn = self.turns.acquire().await;
        let answered = {
            let mut open = self.open();
            if let Some(why) = &open.lost {
                return Err(InquiryError::Gone { why: why.clone() });
            }
            open.waiting.retain(|_, waits| !waits.is_closed());
            let number = open.next;
            open.next += 1;
            let (waits, answered) = oneshot::channel();
            open.waiting.insert(number, waits);
            let _ = outbox.send(FromJobManager::Ask(number, question));
            answered
        };
        answered.await.unwrap_or_else(|_| {
            let why = self.open().lost.clone();
            Err(InquiryError::Gone {
                why: why.unwrap_or_default(),
            })
        })
    }

    /// Passes an answer on.
    pub(super) fn answered(&self, number: u64, answer: Answered) {
        if let Some(waits) = self.open().waiting.remove(&number) {
            let _ = waits.send(answer);
        }
    }

    /// Tells all who wait that nothing comes any more.
    pub(super) fn lost(&self, why: &str) {
        let mut open = self.open();
        open.lost = Some(why.to_owned());
        open.waiting.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Arc;
    use tokio::sync::mpsc::{UnboundedReceiver, unbounded_channel};
    use tokio::task::JoinHandle;

    type Asked = UnboundedReceiver<FromJobManager>;

    fn asking(count: usize) -> (Arc<Inquiries>, Asked, Vec<JoinHandle<Answered>>) {
        let inquiries = Arc::new(Inquiries::new());
        let (outbox, asked) = unbounded_channel();
        let ask = |_| {
            let (inquiries, outbox) = (inquiries.clone(), outbox.clone());
            tokio::spawn(async move { inquiries.ask(&outbox, Question::Threads).await })
        };
        let waiting = (0..count).map(ask).collect();
        (inquiries, asked, waiting)
    }

    async fn next(asked: &mut Asked) -> u64 {
        match asked.recv().await {
            Some(FromJobManager::Ask(number, Question::Threads)) => number,
            other => panic!("{other:?}"),
        }
    }

    #[tokio::test]
    async fn only_a_few_are_asked_at_a_time_and_all_are_answered() {
        let (inquiries, mut asked, waiting) = asking(2 * AT_A_TIME);
        let mut open = vec![];
        for _ in 0..AT_A_TIME {
            open.push(next(&mut asked).await);
        }
        // On one thread all others have run as far as they can.
        tokio::task::yield_now().await;
        assert!(asked.try_recv().is_err());
        for round in 0..2 * AT_A_TIME {
            inquiries.answered(open.remove(0), Ok(Answer::Threads(vec![])));
            if round < AT_A_TIME {
                open.push(next(&mut asked).await);
            }
        }
        for answered in waiting {
            assert_eq!(answered.await.unwrap(), Ok(Answer::Threads(vec![])));
        }
    }

    #[tokio::test]
    async fn who_waits_hears_that_the_task_manager_is_lost() {
        let (inquiries, mut asked, waiting) = asking(1);
        next(&mut asked).await;
        inquiries.lost("it closed its connection");
        // A late answer is nobody's.
        inquiries.answered(0, Ok(Answer::Threads(vec![])));
        let gone = Err(InquiryError::Gone {
            why: "it closed its connection".to_owned(),
        });
        for answered in waiting {
            assert_eq!(answered.await.unwrap(), gone);
        }
        let (outbox, _asked) = unbounded_channel();
        assert_eq!(inquiries.ask(&outbox, Question::Logs).await, gone);
    }
}
