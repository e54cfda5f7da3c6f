//! A session with ZooKeeper, kept over connections that break.
//!
//! ```text
//!               welcome                        breaks, or silent for 2/3 of the timeout
//!  Absent ──────────────► Connected ──────────────────────────────────────────► Suspended
//!    ▲                        ▲                                                   │   │
//!    │                        └──────────────── welcome with the same session ────┘   │
//!    └──── expired: the servers say so, or its timeout has passed without an answer ──┘
//! ```
//! A task of its own keeps it: connects to one server after the other, pings, and hands answers and events to who waits for them. What was asked over a connection
//! that breaks has failed, and whether it was done is not known; watches end with their connection, so who watches looks again.

use super::settings::{Server, Settings};
use super::wire::{self, Answer, Malformed, Operation, Ticket};
use bytes::{Bytes, BytesMut};
use std::collections::{HashMap, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::{mpsc, oneshot, watch};
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, sleep_until, timeout};

/// Between two rounds through all servers at first; then twice as long each time.
const FIRST_PAUSE: Duration = Duration::from_millis(50);

/// The longest such pause.
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Errors of ZooKeeper's answers.
const NO_NODE: i32 = -101;
const NO_AUTH: i32 = -102;
const NODE_EXISTS: i32 = -110;
const SESSION_EXPIRED: i32 = -112;
const AUTH_FAILED: i32 = -115;
const SESSION_MOVED: i32 = -118;

/// Why ZooKeeper has not done what it was asked.
#[derive(Debug, Clone, thiserror::Error)]
pub enum Fault {
    /// No server takes a connection.
    #[error("ZooKeeper at {quorum} is not reached: {why}")]
    Unreachable {
        /// Its servers, and the option that names them.
        quorum: String,
        /// What came of the last try.
        why: String,
    },
    /// The connection broke, so it is not known whether it was done.
    #[error("the connection to ZooKeeper broke")]
    Lost,
    #[error("ZooKeeper has no node {0}")]
    NoNode(String),
    #[error("ZooKeeper has a node {0} already")]
    NodeExists(String),
    #[error(
        "ZooKeeper lets this process not use {0}: let all processes of the cluster have the same \
         high-availability.zookeeper.client.authorization, or choose another high-availability.cluster-id"
    )]
    NoAuth(String),
    #[error("ZooKeeper refuses {path} with its error {code}")]
    Refused { path: String, code: i32 },
    #[error("an answer of ZooKeeper cannot be read: {0}")]
    Malformed(Arc<Malformed>),
    /// A node was not written by a JobManager of this kind.
    #[error(
        "ZooKeeper's node {path} is none of a JobManager: {problem}; delete it, or choose another high-availability.cluster-id or \
         high-availability.zookeeper.path.root"
    )]
    Foreign { path: String, problem: String },
}

impl From<Malformed> for Fault {
    fn from(malformed: Malformed) -> Self {
        Self::Malformed(Arc::new(malformed))
    }
}

/// Whether there is a session, and a connection.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum State {
    /// There is no session; what came of the last try to get one.
    Absent(String),
    Connected {
        session: i64,
    },
    /// It may be connected again.
    Suspended {
        session: i64,
        /// Not before this time the servers end it.
        expires: Instant,
        why: String,
    },
}

impl State {
    fn is_connected(&self) -> bool {
        matches!(self, Self::Connected { .. })
    }
}

/// A change that is waited for.
pub struct Watch(oneshot::Receiver<()>);

impl Watch {
    /// Waits until what was asked may be otherwise, or the connection broke. Cancel-safe, once.
    pub async fn changed(self) {
        // Where nobody tells any more the connection is gone.
        let _ = self.0.await;
    }
}

/// Something to be asked.
struct Call {
    operation: Operation,
    path: String,
    body: Bytes,
    answer: oneshot::Sender<Result<Bytes, Fault>>,
    watch: Option<oneshot::Sender<()>>,
}

/// A session. It ends some time after it is dropped, when its timeout has passed.
pub struct Session {
    settings: Arc<Settings>,
    calls: mpsc::UnboundedSender<Call>,
    state: watch::Receiver<State>,
    keeping: JoinHandle<()>,
}

impl Drop for Session {
    fn drop(&mut self) {
        self.keeping.abort();
    }
}

impl Session {
    /// Begins one. Needs Tokio.
    pub fn start(settings: Arc<Settings>) -> Self {
        let (calls, called) = mpsc::unbounded_channel();
        let (told, state) = watch::channel(State::Absent("no answer yet".to_owned()));
        let keeper = Keeper {
            settings: settings.clone(),
            calls: called,
            state: told,
            ticket: Ticket::default(),
        };
        Self {
            settings,
            calls,
            state,
            keeping: tokio::spawn(keeper.keep()),
        }
    }

    /// What is known of it, and every change of that.
    pub fn state(&self) -> watch::Receiver<State> {
        self.state.clone()
    }

    /// Makes a node that stays, unless it is there: then no right to make it is needed.
    pub async fn ensure(&self, path: &str) -> Result<(), Fault> {
        let exists = wire::question(path, false);
        match self.call(Operation::Exists, path, exists, None).await {
            Err(Fault::NoNode(_)) => {}
            found => return found.map(drop),
        }
        let body = wire::create(path, &[], self.settings.acl, false);
        match self.call(Operation::Create, path, body, None).await {
            Ok(_) | Err(Fault::NodeExists(_)) => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    /// Makes a node that ends with the session, whose name is `prefix` and a number above all before; its path.
    pub async fn create_place(&self, prefix: &str, data: &[u8]) -> Result<String, Fault> {
        let body = wire::create(prefix, data, self.settings.acl, true);
        let mut answer = self.call(Operation::Create, prefix, body, None).await?;
        Ok(wire::take_text(&mut answer)?)
    }

    /// Deletes a node, if it is there.
    pub async fn delete(&self, path: &str) -> Result<(), Fault> {
        match self.call(Operation::Delete, path, wire::delete(path), None).await {
            Ok(_) | Err(Fault::NoNode(_)) => Ok(()),
            Err(fault) => Err(fault),
        }
    }

    /// Changes the data of a node.
    pub async fn set_data(&self, path: &str, data: &[u8]) -> Result<(), Fault> {
        let body = wire::set_data(path, data);
        self.call(Operation::SetData, path, body, None).await.map(drop)
    }

    /// Watches a node; `None`: there is none.
    pub async fn watch_existence(&self, path: &str) -> Result<Option<Watch>, Fault> {
        match self.watched(Operation::Exists, path).await {
            Ok((_, watch)) => Ok(Some(watch)),
            Err(Fault::NoNode(_)) => Ok(None),
            Err(fault) => Err(fault),
        }
    }

    /// The data of a node, and its next change.
    pub async fn watch_data(&self, path: &str) -> Result<(Bytes, Watch), Fault> {
        let (mut answer, watch) = self.watched(Operation::GetData, path).await?;
        Ok((wire::take_bytes(&mut answer)?, watch))
    }

    /// The names of the nodes below one, and their next change.
    pub async fn watch_children(&self, path: &str) -> Result<(Vec<String>, Watch), Fault> {
        let (answer, watch) = self.watched(Operation::GetChildren, path).await?;
        Ok((wire::texts(answer)?, watch))
    }

    /// The data of a node.
    pub async fn data(&self, path: &str) -> Result<Bytes, Fault> {
        let mut answer = self
            .call(Operation::GetData, path, wire::question(path, false), None)
            .await?;
        Ok(wire::take_bytes(&mut answer)?)
    }

    /// The names of the nodes below one.
    pub async fn children(&self, path: &str) -> Result<Vec<String>, Fault> {
        let body = wire::question(path, false);
        let answer = self.call(Operation::GetChildren, path, body, None).await?;
        Ok(wire::texts(answer)?)
    }

    /// Waits until what is asked from now on has all that any server has done before.
    pub async fn sync(&self, path: &str) -> Result<(), Fault> {
        self.call(Operation::Sync, path, wire::sync(path), None).await.map(drop)
    }

    async fn watched(&self, operation: Operation, path: &str) -> Result<(Bytes, Watch), Fault> {
        let (tells, watch) = oneshot::channel();
        let body = wire::question(path, true);
        let answer = self.call(operation, path, body, Some(tells)).await?;
        Ok((answer, Watch(watch)))
    }

    /// Asks, when there is a connection; waits for one as long as the settings say.
    async fn call(
        &self,
        operation: Operation,
        path: &str,
        body: Bytes,
        watch: Option<oneshot::Sender<()>>,
    ) -> Result<Bytes, Fault> {
        let mut state = self.state.clone();
        let connected = async { state.wait_for(State::is_connected).await.is_ok() };
        if timeout(self.settings.connection_timeout, connected).await != Ok(true) {
            return Err(self.unreachable());
        }
        let (answer, answered) = oneshot::channel();
        let call = Call {
            operation,
            path: path.to_owned(),
            body,
            answer,
            watch,
        };
        // Where nobody takes it the answer tells.
        let _ = self.calls.send(call);
        tokio::select! {
            biased;
            answered = answered => answered.unwrap_or(Err(Fault::Lost)),
            _ = state.wait_for(|state| !state.is_connected()) => Err(Fault::Lost),
        }
    }

    fn unreachable(&self) -> Fault {
        let why = match &*self.state.borrow() {
            State::Absent(why) | State::Suspended { why, .. } => why.clone(),
            State::Connected { .. } => "the connection came too late".to_owned(),
        };
        Fault::Unreachable {
            quorum: self.settings.quorum(),
            why,
        }
    }
}

/// Why a server gives no connection.
enum NoWelcome {
    /// The session is over.
    Expired,
    /// It is not there, or not of use.
    Problem(String),
}

impl<E: std::error::Error> From<E> for NoWelcome {
    fn from(error: E) -> Self {
        Self::Problem(error.to_string())
    }
}

/// What keeps a session.
struct Keeper {
    settings: Arc<Settings>,
    calls: mpsc::UnboundedReceiver<Call>,
    state: watch::Sender<State>,
    ticket: Ticket,
}

impl Keeper {
    async fn keep(mut self) {
        let (mut pause, mut told) = (FIRST_PAUSE, String::new());
        loop {
            match self.connect().await {
                Ok((stream, heard)) => {
                    self.serve(stream, heard).await;
                    (pause, told) = (FIRST_PAUSE, String::new());
                }
                Err(NoWelcome::Expired) => self.forget("the session has expired"),
                Err(NoWelcome::Problem(problem)) => {
                    self.expire(&problem);
                    if told != problem {
                        let quorum = self.settings.quorum();
                        tracing::warn!("ZooKeeper at {quorum} is not reached, and asked again: {problem}");
                        told = problem;
                    }
                }
            }
            sleep(pause).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Ends the session when its time has passed.
    fn expire(&mut self, problem: &str) {
        let state = self.state.borrow().clone();
        match state {
            State::Suspended { expires, .. } if Instant::now() < expires => {}
            _ => self.forget(problem),
        }
    }

    fn forget(&mut self, why: &str) {
        self.ticket = Ticket::default();
        self.state.send_replace(State::Absent(why.to_owned()));
    }

    /// A connection to any server, and when it was asked for.
    async fn connect(&mut self) -> Result<(TcpStream, Instant), NoWelcome> {
        let servers = self.settings.servers.clone();
        // Not all processes begin with the same one.
        let first = RandomState::new().hash_one(0) as usize % servers.len();
        let patience = (self.settings.connection_timeout / servers.len() as u32).max(Duration::from_secs(1));
        let mut problems = vec![];
        for server in servers.iter().cycle().skip(first).take(servers.len()) {
            let began = Instant::now();
            match timeout(patience, self.introduce(server)).await {
                Ok(Ok(stream)) => return Ok((stream, began)),
                Ok(Err(NoWelcome::Expired)) => return Err(NoWelcome::Expired),
                Ok(Err(NoWelcome::Problem(problem))) => problems.push(format!("{server}: {problem}")),
                Err(_) => problems.push(format!("{server}: no answer within {} ms", patience.as_millis())),
            }
        }
        Err(NoWelcome::Problem(problems.join("; ")))
    }

    /// Says hello to a server, and who this process is.
    async fn introduce(&mut self, server: &Server) -> Result<TcpStream, NoWelcome> {
        let mut stream = TcpStream::connect((server.host.as_str(), server.port)).await?;
        stream.set_nodelay(true)?;
        stream
            .write_all(&wire::hello(&self.ticket, self.settings.session_timeout))
            .await?;
        let welcome = wire::welcome(read_frame(&mut stream).await?, self.ticket.zxid)?;
        self.ticket = welcome.ok_or(NoWelcome::Expired)?;
        for one in &self.settings.authorizations {
            let body = wire::auth(&one.scheme, &one.proof);
            stream
                .write_all(&wire::request(wire::AUTH, Operation::Auth, &body))
                .await?;
            let answer = wire::answer(read_frame(&mut stream).await?)?;
            if answer.error != 0 {
                let problem = format!(
                    "it does not accept the authorization by '{}' (high-availability.zookeeper.client.authorization)",
                    one.scheme
                );
                return Err(NoWelcome::Problem(problem));
            }
        }
        Ok(stream)
    }

    /// Answers calls over a connection until it breaks.
    async fn serve(&mut self, stream: TcpStream, heard: Instant) {
        let session = self.ticket.session;
        self.state.send_replace(State::Connected { session });
        let connection = Connection {
            stream,
            input: BytesMut::new(),
            waiting: VecDeque::new(),
            watches: HashMap::new(),
            xid: 0,
            pinged: None,
            heard,
            ticket: &mut self.ticket,
        };
        let (why, heard) = connection.serve(&mut self.calls).await;
        let expires = heard + self.ticket.timeout;
        tracing::warn!("the connection to ZooKeeper broke: {why}");
        self.state.send_replace(State::Suspended { session, expires, why });
    }
}

/// Reads the one frame that comes.
async fn read_frame(stream: &mut TcpStream) -> Result<Bytes, NoWelcome> {
    let mut length = [0; 4];
    stream.read_exact(&mut length).await?;
    let mut frame = vec![0; wire::frame_length(length).map_err(NoWelcome::Problem)?];
    stream.read_exact(&mut frame).await?;
    Ok(frame.into())
}

/// A call whose answer is to come.
struct Waiting {
    xid: i32,
    sent: Instant,
    call: Call,
}

/// A connection with a session.
struct Connection<'a> {
    stream: TcpStream,
    input: BytesMut,
    /// Answers come in the order of the calls.
    waiting: VecDeque<Waiting>,
    /// Who waits for a change of a node, or of its children.
    watches: HashMap<String, Vec<oneshot::Sender<()>>>,
    xid: i32,
    /// When the first ping went that is not answered yet.
    pinged: Option<Instant>,
    /// When that was sent which has been answered last: since then the servers count the session's timeout, or later.
    heard: Instant,
    ticket: &'a mut Ticket,
}

impl Connection<'_> {
    /// Serves until it breaks: why, and when it was last heard.
    async fn serve(mut self, calls: &mut mpsc::UnboundedReceiver<Call>) -> (String, Instant) {
        let why = loop {
            if let Err(why) = self.step(calls).await {
                break why;
            }
        };
        (why, self.heard)
    }

    async fn step(&mut self, calls: &mut mpsc::UnboundedReceiver<Call>) -> Result<(), String> {
        // A ping, and the time for its answer: a third of the timeout each, so another third is left to find another server.
        let third = self.ticket.timeout / 3;
        let wakes_at = self.pinged.unwrap_or(self.heard) + third;
        tokio::select! {
            read = self.stream.read_buf(&mut self.input) => match read {
                Ok(0) => Err("the server closed it".to_owned()),
                Ok(_) => self.take_answers(),
                Err(error) => Err(error.to_string()),
            },
            call = calls.recv() => match call {
                Some(call) => self.ask(call).await,
                None => Err("nobody needs it any more".to_owned()),
            },
            () = sleep_until(wakes_at) => match self.pinged {
                Some(_) => Err(format!("no answer within {} ms", third.as_millis())),
                None => self.ping().await,
            },
        }
    }

    async fn ask(&mut self, call: Call) -> Result<(), String> {
        if call.answer.is_closed() {
            return Ok(());
        }
        self.xid = self.xid.checked_add(1).unwrap_or(1);
        let frame = wire::request(self.xid, call.operation, &call.body);
        self.waiting.push_back(Waiting {
            xid: self.xid,
            sent: Instant::now(),
            call,
        });
        self.write(&frame).await
    }

    async fn ping(&mut self) -> Result<(), String> {
        self.pinged = Some(Instant::now());
        self.write(&wire::request(wire::PING, Operation::Ping, &[])).await
    }

    /// Writes within the time that an answer may take, so that a server that reads nothing is noticed.
    async fn write(&mut self, frame: &[u8]) -> Result<(), String> {
        match timeout(self.ticket.timeout / 3, self.stream.write_all(frame)).await {
            Ok(written) => written.map_err(|error| error.to_string()),
            Err(_) => Err("the server reads nothing".to_owned()),
        }
    }

    fn take_answers(&mut self) -> Result<(), String> {
        while let Some(frame) = wire::take_frame(&mut self.input)? {
            let answer = wire::answer(frame).map_err(|error| error.to_string())?;
            self.take_answer(answer)?;
        }
        Ok(())
    }

    fn take_answer(&mut self, answer: Answer) -> Result<(), String> {
        self.ticket.zxid = self.ticket.zxid.max(answer.zxid);
        match answer.xid {
            wire::EVENT => {
                let path = wire::event_path(answer.body).map_err(|error| error.to_string())?;
                for told in self.watches.remove(&path).unwrap_or_default() {
                    let _ = told.send(());
                }
            }
            wire::PING => {
                if let Some(pinged) = self.pinged.take() {
                    self.heard = self.heard.max(pinged);
                }
            }
            xid => {
                let waiting = self.waiting.pop_front().filter(|waiting| waiting.xid == xid);
                let waiting = waiting.ok_or_else(|| format!("an answer {xid} came that nobody waits for"))?;
                self.heard = self.heard.max(waiting.sent);
                self.settle(waiting.call, answer)?;
            }
        }
        Ok(())
    }

    /// Gives who waits its answer.
    fn settle(&mut self, call: Call, answer: Answer) -> Result<(), String> {
        let path = call.path;
        let result = match answer.error {
            0 => Ok(answer.body),
            NO_NODE => Err(Fault::NoNode(path.clone())),
            NODE_EXISTS => Err(Fault::NodeExists(path.clone())),
            NO_AUTH => Err(Fault::NoAuth(path.clone())),
            SESSION_EXPIRED | SESSION_MOVED | AUTH_FAILED => {
                return Err(format!("the server ends it with the error {}", answer.error));
            }
            code => Err(Fault::Refused {
                path: path.clone(),
                code,
            }),
        };
        if let (Ok(_), Some(watch)) = (&result, call.watch) {
            let watches = self.watches.entry(path).or_default();
            watches.retain(|watch| !watch.is_closed());
            watches.push(watch);
        }
        // Who asked may be gone.
        let _ = call.answer.send(result);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use bytes::BufMut;
    use flott_core::Options;
    use tokio::net::TcpListener;

    /// No step of these tests needs so long.
    const DEADLINE: Duration = Duration::from_secs(60);

    /// A server's end of a connection, which does what the test says.
    struct Peer(TcpStream);

    impl Peer {
        /// Takes the next connection; also the session that it comes back to.
        async fn accept(listener: &TcpListener) -> (Self, i64) {
            let (stream, _) = timeout(DEADLINE, listener.accept()).await.unwrap().unwrap();
            let mut peer = Self(stream);
            let hello = peer.frame().await;
            (peer, i64::from_be_bytes(*hello[16..].first_chunk().unwrap()))
        }

        async fn frame(&mut self) -> Bytes {
            let frame = timeout(DEADLINE, read_frame(&mut self.0)).await.unwrap();
            frame.ok().expect("the connection broke")
        }

        /// The xid of the next request that is no ping; pings are answered.
        async fn request(&mut self) -> i32 {
            loop {
                let frame = self.frame().await;
                let xid = i32::from_be_bytes(*frame.first_chunk().unwrap());
                if xid != wire::PING {
                    return xid;
                }
                self.answer(xid, 0, b"").await;
            }
        }

        async fn send(&mut self, message: &[u8]) {
            let mut frame = BytesMut::new();
            frame.put_i32(message.len() as i32);
            frame.put_slice(message);
            self.0.write_all(&frame).await.unwrap();
        }

        /// `timeout_ms`: 0 where the session has expired.
        async fn welcome(&mut self, session: i64, timeout_ms: i32) {
            let mut message = BytesMut::new();
            message.put_i32(0);
            message.put_i32(timeout_ms);
            message.put_i64(session);
            message.put_i32(16);
            message.put_slice(&[1; 16]);
            self.send(&message).await;
        }

        async fn answer(&mut self, xid: i32, error: i32, body: &[u8]) {
            let mut message = BytesMut::new();
            message.put_i32(xid);
            message.put_i64(1);
            message.put_i32(error);
            message.put_slice(body);
            self.send(&message).await;
        }
    }

    async fn listen() -> (TcpListener, String) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let place = listener.local_addr().unwrap().to_string();
        (listener, place)
    }

    fn session(servers: &str) -> Session {
        let options: Options = [("high-availability.zookeeper.quorum", servers)].into_iter().collect();
        Session::start(Arc::new(Settings::from_options(&options).unwrap()))
    }

    async fn until(session: &Session, is_there: impl FnMut(&State) -> bool) -> State {
        let mut state = session.state();
        let found = timeout(DEADLINE, state.wait_for(is_there)).await;
        found.expect("the state does not come").unwrap().clone()
    }

    #[tokio::test]
    async fn one_server_of_several_is_enough_and_its_answers_find_who_asked() {
        let (gone, nobody) = listen().await;
        drop(gone);
        let (listener, place) = listen().await;
        let session = session(&format!("{nobody},{place}"));
        let (mut peer, asked) = Peer::accept(&listener).await;
        assert_eq!(asked, 0);
        peer.welcome(5, 60_000).await;
        let answering = async |peer: &mut Peer, error: i32, body: &[u8]| {
            let xid = peer.request().await;
            peer.answer(xid, error, body).await;
        };
        let body = [0, 0, 0, 2, b'o', b'k'];
        let (data, ()) = tokio::join!(session.watch_data("/a"), answering(&mut peer, 0, &body));
        let (data, watch) = data.unwrap();
        assert_eq!(&data[..], b"ok");
        let (missing, ()) = tokio::join!(session.data("/b"), answering(&mut peer, NO_NODE, b""));
        assert!(matches!(missing, Err(Fault::NoNode(path)) if path == "/b"));
        // An event is of a type and a state, and names the node.
        peer.answer(wire::EVENT, 0, b"\0\0\0\x03\0\0\0\x03\0\0\0\x02/a").await;
        timeout(DEADLINE, watch.changed()).await.unwrap();
    }

    #[tokio::test]
    async fn who_comes_back_in_time_has_its_session_again_and_who_does_not_gets_another() {
        let (listener, place) = listen().await;
        let session = session(&place);
        let (mut peer, _) = Peer::accept(&listener).await;
        // It answers nothing any more, pings neither.
        peer.welcome(5, 3_000).await;
        let (watched, ()) = tokio::join!(session.watch_existence("/a"), async {
            let xid = peer.request().await;
            peer.answer(xid, 0, b"").await;
        });
        let watch = watched.unwrap().unwrap();
        until(&session, |state| matches!(state, State::Suspended { session: 5, .. })).await;
        // What was watched may have changed meanwhile.
        timeout(DEADLINE, watch.changed()).await.unwrap();
        let (mut peer, asked) = Peer::accept(&listener).await;
        assert_eq!(asked, 5);
        peer.welcome(5, 60_000).await;
        until(&session, |state| *state == State::Connected { session: 5 }).await;
        drop(peer);
        let (mut peer, asked) = Peer::accept(&listener).await;
        assert_eq!(asked, 5);
        peer.welcome(0, 0).await;
        until(&session, |state| matches!(state, State::Absent(_))).await;
        let (mut peer, asked) = Peer::accept(&listener).await;
        assert_eq!(asked, 0);
        peer.welcome(6, 60_000).await;
        until(&session, |state| *state == State::Connected { session: 6 }).await;
    }

    #[tokio::test]
    async fn a_session_that_nobody_answers_for_ends_with_its_timeout() {
        let (listener, place) = listen().await;
        let session = session(&place);
        let (mut peer, _) = Peer::accept(&listener).await;
        peer.welcome(5, 300).await;
        drop((peer, listener));
        let over = until(
            &session,
            |state| matches!(state, State::Absent(why) if why.contains("refused")),
        )
        .await;
        assert!(matches!(over, State::Absent(why) if why.contains(&place)));
    }
}
