use super::*;
use crate::element::{AfterBarrier, Barrier, Element, EndOfInput};
use crate::exchange::{Receiver, RowsForm, Sender, frame, incoming_channel, outgoing_channel};
use crate::net::{self, MAX_STRANGERS};
use crate::waker::Waker;
use arrow_array::{Int64Array, cast::AsArray, types::Int64Type};
use arrow_schema::DataType;
use flott_core::Batch;
use std::sync::mpsc;
use std::time::Instant;
use tokio::io::{AsyncReadExt, AsyncWriteExt, duplex};

const DEADLINE: Duration = Duration::from_secs(60);

fn id(attempt: u64) -> ExchangeId {
    ExchangeId {
        job: JobId::of("job"),
        generation: 1,
        attempt,
    }
}

fn service(secret: &str) -> ExchangeService {
    ExchangeService::bind(
        "127.0.0.1",
        0,
        Transport::plain(),
        Secret::new(secret),
        Duration::from_secs(10),
    )
    .unwrap()
}

fn peer(id: &str, service: &ExchangeService) -> Peer {
    Peer {
        id: id.to_owned(),
        address: service.address().to_string(),
    }
}

fn incoming(window_bytes: usize) -> (Receiver, Incoming, Waker) {
    let waker = Waker::new();
    waker.listen();
    let form = RowsForm::Columns(Arc::new([DataType::Int64]));
    let (receiver, incoming) = incoming_channel(window_bytes, waker.clone(), form);
    (receiver, incoming, waker)
}

fn outgoing(capacity_bytes: usize) -> (Sender, Outgoing, Waker) {
    let waker = Waker::new();
    let (sender, outgoing) = outgoing_channel(capacity_bytes, waker.clone());
    (sender, outgoing, waker)
}

/// An `on_failure`, and where its calls arrive.
fn failures() -> (
    impl Fn(TaskError) + Clone + Send + Sync + 'static,
    mpsc::Receiver<String>,
) {
    let (sender, receiver) = mpsc::channel();
    let told = move |e: TaskError| {
        // A test that has ended closes its attempts one after another.
        let _ = sender.send(e.full_text());
    };
    (told, receiver)
}

fn assert_none(failed: &mpsc::Receiver<String>) {
    assert_eq!(failed.try_recv(), Err(mpsc::TryRecvError::Empty));
}

fn rows(values: impl IntoIterator<Item = i64>) -> Element {
    let column = Int64Array::from_iter_values(values);
    let rows = column.len();
    Element::Data(Batch::new(vec![Arc::new(column)], rows))
}

fn first_value(element: &Element) -> i64 {
    match element {
        Element::Data(batch) => batch.column(0).as_primitive::<Int64Type>().value(0),
        Element::Watermark(time) => *time,
        other => panic!("{other:?}"),
    }
}

/// The next element of a channel, whose waker listens on this thread.
fn next(receiver: &Receiver, waker: &Waker) -> Element {
    let deadline = Instant::now() + DEADLINE;
    loop {
        if let Some(element) = receiver.pop().unwrap() {
            return element;
        }
        assert!(Instant::now() < deadline, "nothing came");
        waker.park(Duration::from_millis(200));
    }
}

/// Parks on this thread until something is true; the waker may or may not tell.
fn until(waker: &Waker, what: &str, mut is_true: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !is_true() {
        assert!(Instant::now() < deadline, "{what}");
        waker.park(Duration::from_millis(5));
    }
}

/// A peer without a service: it has said which channels it feeds, and not read the answer.
async fn raw_peer(service: &ExchangeService, secret: &str, channels: &[u32]) -> TcpStream {
    let mut stream = TcpStream::connect(service.address()).await.unwrap();
    let hello = opening::hello_of(id(1), "raw");
    net::connect(&mut stream, &Secret::new(secret), &hello).await.unwrap();
    let channels: Vec<u8> = channels.iter().flat_map(|c| c.to_le_bytes()).collect();
    net::write_message(&mut stream, &channels, 1 << 10).await.unwrap();
    stream
}

async fn answer(stream: &mut TcpStream) -> String {
    let answer = net::read_message(stream, 1 << 10).await.unwrap().unwrap();
    String::from_utf8(answer).unwrap()
}

fn all_kinds() -> Vec<Element> {
    let barrier = |then| {
        Element::Barrier(Barrier {
            checkpoint: 7,
            triggered_ms: -3,
            then,
            overtakes_from_ms: None,
        })
    };
    let hashed = match rows([1, 2]) {
        Element::Data(batch) => Element::Data(batch.with_hashes(Some(Arc::new(vec![8, 9])))),
        other => other,
    };
    vec![
        rows([4, 5, 6]),
        hashed,
        Element::Watermark(i64::MIN),
        Element::Idle(true),
        Element::Idle(false),
        barrier(AfterBarrier::Continue),
        barrier(AfterBarrier::Stop),
        barrier(AfterBarrier::Drain),
        Element::LatencyMarker(99),
        Element::End(EndOfInput::Stopped),
        Element::End(EndOfInput::Drained),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_element_goes_both_ways() {
    let (quiet, unexpected) = failures();
    let services = [service("s"), service("s")];
    let mut channels = vec![];
    let (mut out, mut into) = ([vec![], vec![]], [vec![], vec![]]);
    // A channel for each element, as nothing is sent behind an end.
    for from in 0..2 {
        for (number, element) in all_kinds().into_iter().enumerate() {
            let (sender, outgoing, _) = outgoing(1 << 20);
            let (receiver, incoming, waker) = incoming(WINDOW_BYTES);
            out[from].push((number as u32, outgoing));
            into[1 - from].push((number as u32, incoming));
            channels.push((sender, element, receiver, waker));
        }
    }
    let [out_a, out_b] = out;
    let [into_a, into_b] = into;
    let [a, b] = &services;
    let (early, late) = channels.split_at(channels.len() / 3);
    for (sender, element, ..) in early {
        sender.send(element.clone()).unwrap();
    }
    let _a = a.open(id(1), "a", into_a, vec![(peer("b", b), out_a)], quiet.clone());
    let _b = b.open(id(1), "b", into_b, vec![(peer("a", a), out_b)], quiet.clone());
    for (sender, element, ..) in late {
        sender.send(element.clone()).unwrap();
    }
    for (_, element, receiver, waker) in &channels {
        assert_eq!(format!("{:?}", next(receiver, waker)), format!("{element:?}"));
    }
    let waker = Waker::new();
    waker.listen();
    until(&waker, "bytes are counted alike", || {
        a.bytes_sent() > 0 && a.bytes_sent() == b.bytes_received() && b.bytes_sent() == a.bytes_received()
    });
    assert_none(&unexpected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn channels_keep_their_order_through_small_windows_and_queues() {
    let (quiet, unexpected) = failures();
    const CHANNELS: u32 = 5;
    const ELEMENTS: i64 = 2_000;
    let (a, b) = (service(""), service(""));
    let (mut out, mut into, mut readers) = (vec![], vec![], vec![]);
    let mut writers = vec![];
    for number in 0..CHANNELS {
        let (sender, outgoing, room) = outgoing(2_000);
        // From a window of a single byte to one of some frames.
        let (receiver, incoming, waker) = incoming(1 + 700 * number as usize);
        out.push((number, outgoing));
        into.push((number, incoming));
        readers.push((receiver, waker));
        writers.push(std::thread::spawn(move || {
            room.listen();
            for value in 0..ELEMENTS {
                until(&room, "room", || sender.has_room());
                // Short and long frames, of which some are longer than window and queue.
                let element = match value % 50 {
                    0 => rows(value..value + 5_000),
                    7 => Element::Watermark(value),
                    n => rows(value..=value + n),
                };
                sender.send(element).unwrap();
            }
        }));
    }
    let _a = a.open(id(1), "a", vec![], vec![(peer("b", &b), out)], quiet.clone());
    let _b = b.open(id(1), "b", into, vec![], quiet.clone());
    for value in 0..ELEMENTS {
        for (receiver, waker) in &readers {
            assert_eq!(first_value(&next(receiver, waker)), value);
        }
    }
    writers.into_iter().for_each(|w| w.join().unwrap());
    assert_none(&unexpected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_channel_that_nobody_reads_stops_within_its_bounds_and_the_others_go_on() {
    let (quiet, unexpected) = failures();
    const WINDOW: usize = 20_000;
    const QUEUE: usize = 10_000;
    // Of 1,000 numbers.
    const FRAME: usize = 9_000;
    let (a, b) = (service(""), service(""));
    let (blocked_sender, blocked_out, room) = outgoing(QUEUE);
    let (blocked_receiver, blocked_in, waker) = incoming(WINDOW);
    let (sender, out, _) = outgoing(QUEUE);
    let (receiver, into, waker_2) = incoming(WINDOW);
    let channels = vec![(1, blocked_out), (2, out)];
    let _b = b.open(id(1), "b", vec![(1, blocked_in), (2, into)], vec![], quiet.clone());
    let _a = a.open(id(1), "a", vec![], vec![(peer("b", &b), channels)], quiet.clone());

    // Full once what the reader was granted has come, and the queue is at its bound.
    let mut sent = 0;
    until(&waker, "the window and the queue fill", || {
        while blocked_sender.has_room() {
            blocked_sender.send(rows(sent..sent + 1_000)).unwrap();
            sent += 1;
        }
        blocked_receiver.queued_bytes() >= WINDOW
    });
    let in_memory = sent as usize * FRAME;
    assert!(in_memory < WINDOW + QUEUE + 3 * FRAME, "{sent} frames were taken");

    for value in 0..500 {
        until(&waker, "room", || sender.has_room());
        sender.send(rows(value..value + 1_000)).unwrap();
        until(&waker_2, "the other channel goes on", || {
            receiver.pop().unwrap().is_some_and(|e| first_value(&e) == value)
        });
    }
    assert!(!blocked_sender.has_room());
    assert!(blocked_receiver.queued_bytes() < WINDOW + 2 * FRAME);
    room.take();

    for value in 0..sent {
        assert_eq!(first_value(&next(&blocked_receiver, &waker)), value);
    }
    until(&waker, "the writer is woken", || room.take());
    assert!(blocked_sender.has_room());
    assert_none(&unexpected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frame_may_be_longer_than_window_queue_and_buffers() {
    let (quiet, unexpected) = failures();
    let (a, b) = (service(""), service(""));
    let (sender, out, _) = outgoing(100);
    let (receiver, into, waker) = incoming(100);
    let _a = a.open(id(1), "a", vec![], vec![(peer("b", &b), vec![(0, out)])], quiet.clone());
    let _b = b.open(id(1), "b", vec![(0, into)], vec![], quiet.clone());
    for _ in 0..2 {
        sender.send(rows(0..1_000_000)).unwrap();
        let Element::Data(batch) = next(&receiver, &waker) else {
            panic!("rows were sent");
        };
        assert_eq!(batch.column(0).as_primitive::<Int64Type>().value(999_999), 999_999);
    }
    assert_none(&unexpected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_is_told_why_it_is_not_let_in() {
    let (quiet, unexpected) = failures();
    let (told, failed) = failures();
    let (a, b) = (service("one"), service("another"));
    let (_sender, out, _) = outgoing(100);
    let _a = a.open(id(1), "a", vec![], vec![(peer("tm-b", &b), vec![(0, out)])], told);
    let error = failed.recv_timeout(DEADLINE).unwrap();
    let place = format!(
        "the connection to TaskManager tm-b at {} could not be opened: ",
        b.address()
    );
    assert!(error.starts_with(&place) && error.contains("another secret"), "{error}");

    let (told, failed) = failures();
    let b = service("one");
    let (_receiver, into, _) = incoming(100);
    let (_sender, out, _) = outgoing(100);
    let _b = b.open(id(2), "tm-b", vec![(5, into)], vec![], quiet.clone());
    let _a = a.open(id(2), "a", vec![], vec![(peer("tm-b", &b), vec![(0, out)])], told);
    let error = failed.recv_timeout(DEADLINE).unwrap();
    assert!(
        error.ends_with("refused by the other side: TaskManager tm-b knows no channel 0"),
        "{error}"
    );
    assert_none(&unexpected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_is_open_once() {
    let (quiet, unexpected) = failures();
    let a = service("");
    let first = a.open(id(1), "a", vec![], vec![], quiet.clone());
    let (told, failed) = failures();
    drop(a.open(id(1), "a", vec![], vec![], |_| {}));
    let _again = a.open(id(1), "a", vec![], vec![], told);
    let error = failed.recv_timeout(DEADLINE).unwrap();
    assert!(error.contains("are open already"), "{error}");
    drop(first);
    let _b = a.open(id(1), "a", vec![], vec![], quiet.clone());
    assert_none(&unexpected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_peer_that_comes_before_the_attempt_is_open_waits_for_it() {
    let (quiet, unexpected) = failures();
    let b = service("s");
    let mut early = raw_peer(&b, "s", &[3]).await;
    let (receiver, into, waker) = incoming(1_000);
    let _b = b.open(id(1), "b", vec![(3, into)], vec![], quiet.clone());
    assert_eq!(answer(&mut early).await, "");
    let mut credit = [0; 8];
    early.read_exact(&mut credit).await.unwrap();
    assert_eq!(credit, [3, 0, 0, 0, 0xe8, 3, 0, 0]);
    early
        .write_all(&[3, 0, 0, 0, 10, 0, 0, 0, 2, 1, 9, 0, 0, 0, 0, 0, 0, 0])
        .await
        .unwrap();
    assert_eq!(first_value(&next(&receiver, &waker)), 9);

    let mut second = raw_peer(&b, "s", &[3]).await;
    assert_eq!(answer(&mut second).await, "channel 3 is fed by TaskManager raw already");
    assert_none(&unexpected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn damaged_streams_fail_the_attempt_with_clear_texts() {
    let head = |channel: u32, length: u32| [channel.to_le_bytes(), length.to_le_bytes()].concat();
    let whole = [&head(3, 2)[..], &[2, 1]].concat();
    let cases = [
        (
            head(3, u32::MAX),
            "a frame of channel 3 has 4294967295 bytes, 268435456 are possible",
        ),
        (head(4, 10), "channel 4, which is none of its channels"),
        (
            [&whole[..], &whole].concat(),
            "a frame of channel 3 came without credit",
        ),
        (whole[..9].to_vec(), "it ended before its channels"),
    ];
    for (bytes, expected) in cases {
        let b = service("s");
        let (told, failed) = failures();
        let (_receiver, into, _) = incoming(1);
        let _b = b.open(id(1), "b", vec![(3, into)], vec![], told);
        let mut raw = raw_peer(&b, "s", &[3]).await;
        assert_eq!(answer(&mut raw).await, "");
        raw.write_all(&bytes).await.unwrap();
        raw.shutdown().await.unwrap();
        let error = failed.recv_timeout(DEADLINE).unwrap();
        assert!(
            error.starts_with("the connection from TaskManager raw at 127.0.0.1:"),
            "{error}"
        );
        assert!(error.contains(expected), "{error}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strangers_do_not_disturb_the_service() {
    let (quiet, unexpected) = failures();
    let b = service("s");
    let mut stranger = TcpStream::connect(b.address()).await.unwrap();
    stranger.write_all(b"GET / HTTP/1.1\r\n\r\n").await.unwrap();
    let mut said = vec![];
    // It is turned away: the connection ends, by a reset or in order.
    let _ = stranger.read_to_end(&mut said).await;
    assert!(said.starts_with(b"FLOTTNET") || said.is_empty());

    let mut control = TcpStream::connect(b.address()).await.unwrap();
    let error = net::connect(&mut control, &Secret::new("s"), b"control")
        .await
        .unwrap_err();
    assert!(error.to_string().contains("this port is for exchanges"), "{error}");

    let (_receiver, into, _) = incoming(1);
    let _b = b.open(id(1), "b", vec![(3, into)], vec![], quiet.clone());
    let mut known = raw_peer(&b, "s", &[3]).await;
    assert_eq!(answer(&mut known).await, "");
    assert_none(&unexpected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn peers_that_wait_for_the_attempt_keep_no_stranger_out() {
    let (quiet, unexpected) = failures();
    let b = service("s");
    let mut silent = vec![];
    for _ in 0..MAX_STRANGERS {
        silent.push(TcpStream::connect(b.address()).await.unwrap());
    }
    // All places are taken, until one of those that say nothing leaves.
    let mut known = tokio::spawn({
        let b = b.clone();
        async move { raw_peer(&b, "s", &[3]).await }
    });
    let early = tokio::time::timeout(Duration::from_millis(200), &mut known).await;
    assert!(early.is_err(), "more than {MAX_STRANGERS} were let in");
    silent.pop();
    let mut known = known.await.unwrap();
    // It has proved itself and waits for its attempt: so the only place that is free is not its own.
    let _another = raw_peer(&b, "s", &[4]).await;
    let (_receiver, into, _) = incoming(1);
    let _b = b.open(id(1), "b", vec![(3, into)], vec![], quiet.clone());
    assert_eq!(answer(&mut known).await, "");
    assert_none(&unexpected);
}

/// Services `a` and `b` that feed each other through channel 0, and what is told in each.
struct Both {
    exchanges: [Option<Exchange>; 2],
    failed: [mpsc::Receiver<String>; 2],
    addresses: [SocketAddr; 2],
    _services: [ExchangeService; 2],
}

fn both() -> Both {
    let (a, b) = (service(""), service(""));
    let (sender_a, out_a, _) = outgoing(1_000);
    let (sender_b, out_b, _) = outgoing(1_000);
    let (receiver_a, into_a, waker_a) = incoming(1_000);
    let (receiver_b, into_b, waker_b) = incoming(1_000);
    let (told_a, failed_a) = failures();
    let (told_b, failed_b) = failures();
    let exchange_a = a.open(
        id(1),
        "tm-a",
        vec![(0, into_a)],
        vec![(peer("tm-b", &b), vec![(0, out_a)])],
        told_a,
    );
    let exchange_b = b.open(
        id(1),
        "tm-b",
        vec![(0, into_b)],
        vec![(peer("tm-a", &a), vec![(0, out_b)])],
        told_b,
    );
    // So both connections are open.
    for (sender, receiver, waker) in [(sender_a, receiver_b, waker_b), (sender_b, receiver_a, waker_a)] {
        sender.send(Element::Watermark(1)).unwrap();
        next(&receiver, &waker);
    }
    Both {
        exchanges: [Some(exchange_a), Some(exchange_b)],
        failed: [failed_a, failed_b],
        addresses: [a.address(), b.address()],
        _services: [a, b],
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lost_peer_is_told_once_by_name_and_not_by_the_one_that_left() {
    let mut both = both();
    both.exchanges[0] = None;
    let error = both.failed[1].recv_timeout(DEADLINE).unwrap();
    let expected = [
        format!("the connection to TaskManager tm-a at {} was lost: ", both.addresses[0]),
        "the connection from TaskManager tm-a at 127.0.0.1:".to_owned(),
    ];
    assert!(expected.iter().any(|e| error.starts_with(e)), "{error}");
    // Both ends of the two connections are closed now, and who was told may not be told again.
    both.exchanges[1] = None;
    assert_eq!(
        both.failed[1].recv_timeout(DEADLINE),
        Err(mpsc::RecvTimeoutError::Disconnected)
    );
    assert_eq!(
        both.failed[0].recv_timeout(DEADLINE),
        Err(mpsc::RecvTimeoutError::Disconnected)
    );
}

#[tokio::test]
async fn a_connection_ends_in_order_when_its_channels_have() {
    let (a, b) = duplex(10);
    let ((from_a, to_b), (from_b, to_a)) = (tokio::io::split(a), tokio::io::split(b));
    let (sender, out, _) = outgoing(1_000);
    let (sender_2, out_2, _) = outgoing(1_000);
    let (receiver, into, _) = incoming(10);
    let (receiver_2, into_2, _) = incoming(10);
    for sender in [sender, sender_2] {
        sender.send(Element::Watermark(1)).unwrap();
        sender.send(Element::End(EndOfInput::Drained)).unwrap();
    }
    let bytes = [AtomicU64::new(0), AtomicU64::new(0)];
    let sending = sending::send(from_a, to_b, vec![(1, out), (2, out_2)], &bytes[0]);
    let receiving = receiving::receive(from_b, to_a, vec![(1, into), (2, into_2)], &bytes[1]);
    let receivers = [&receiver, &receiver_2];
    let mut taken = [0, 0];
    let reading = async {
        // The second watermark comes once the first was taken: the window is that small.
        while taken != [2, 2] {
            for (receiver, taken) in receivers.iter().zip(&mut taken) {
                *taken += usize::from(receiver.pop().unwrap().is_some());
            }
            tokio::task::yield_now().await;
        }
    };
    let ended = tokio::time::timeout(DEADLINE, async { tokio::join!(sending, receiving, reading) });
    let (sent, received, ()) = ended.await.unwrap();
    sent.unwrap();
    received.unwrap();
    let frames = [
        frame::encode(&Element::Watermark(1)),
        frame::encode(&Element::End(EndOfInput::Drained)),
    ];
    let expected: usize = frames.into_iter().map(|f| 8 + f.unwrap().len()).sum();
    assert_eq!(bytes.map(AtomicU64::into_inner), [2 * expected as u64; 2]);
}
