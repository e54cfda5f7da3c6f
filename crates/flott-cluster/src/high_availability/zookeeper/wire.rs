//! ZooKeeper's protocol, as far as an election needs it: requests to bytes, answers from bytes.
//!
//! ```text
//! frame    i32 length, then so many bytes: one of the following
//! hello    i32 version (0), i64 last zxid seen, i32 timeout in ms, i64 session, buffer password, flag whether read-only will do
//! welcome  i32 version, i32 timeout in ms (0: the session has expired), i64 session, buffer password
//! request  i32 xid, i32 operation, body
//! answer   i32 xid, i64 zxid, i32 error (0: none), body
//! ```
//! Numbers are big-endian; a text or a buffer is its length as an i32, and its bytes (-1: none); a vector is its count, and its items. An answer with the xid
//! [`EVENT`] is none, but tells that what was watched has changed: its body is i32 type, i32 state, text path.

use bytes::{Buf, BufMut, Bytes, BytesMut, TryGetError};
use std::time::Duration;

/// The xid of events.
pub const EVENT: i32 = -1;
/// The xid of pings and their answers.
pub const PING: i32 = -2;
/// The xid of authorizations and their answers.
pub const AUTH: i32 = -4;

/// Largest frame that is read.
pub const MOST_BYTES: usize = 4 << 20;

/// Whether a node ends with its session, and its name with a number that only grows.
const EPHEMERAL_SEQUENTIAL: i32 = 3;
/// Any version of a node.
const ANY: i32 = -1;
/// All rights at a node.
const ALL: i32 = 31;

/// What is asked of a server.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Operation {
    Create = 1,
    Delete = 2,
    Exists = 3,
    GetData = 4,
    SetData = 5,
    GetChildren = 8,
    Sync = 9,
    Ping = 11,
    Auth = 100,
}

/// Who may do what at a node that is created: all of it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Acl {
    /// Everybody.
    Open,
    /// Who is authorized as its creator was.
    Creator,
}

/// An answer, of which the body is left to read.
#[derive(Debug, PartialEq, Eq)]
pub struct Answer {
    /// Of the request, or one of the constants above.
    pub xid: i32,
    /// Of the last change that the server knows.
    pub zxid: i64,
    /// 0: none.
    pub error: i32,
    pub body: Bytes,
}

/// What a client needs to come back to its session over another connection.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Ticket {
    /// 0: it has none yet.
    pub session: i64,
    pub password: Bytes,
    /// After so long without a word the servers end the session.
    pub timeout: Duration,
    /// The last change that it has seen; a server that is behind refuses it.
    pub zxid: i64,
}

/// Bytes that are no answer of ZooKeeper.
#[derive(Debug, thiserror::Error)]
pub enum Malformed {
    #[error("it is cut off")]
    Short(#[from] TryGetError),
    #[error("a text is not UTF-8")]
    Text(#[from] std::string::FromUtf8Error),
}

/// A message that is being written.
struct Message(BytesMut);

impl Message {
    fn new() -> Self {
        Self(BytesMut::new())
    }

    fn int(mut self, value: i32) -> Self {
        self.0.put_i32(value);
        self
    }

    fn long(mut self, value: i64) -> Self {
        self.0.put_i64(value);
        self
    }

    fn flag(mut self, value: bool) -> Self {
        self.0.put_u8(value.into());
        self
    }

    fn bytes(mut self, value: &[u8]) -> Self {
        self.0.put_i32(value.len() as i32);
        self.0.put_slice(value);
        self
    }

    fn text(self, value: &str) -> Self {
        self.bytes(value.as_bytes())
    }

    fn acl(self, acl: Acl) -> Self {
        let (scheme, id) = match acl {
            Acl::Open => ("world", "anyone"),
            Acl::Creator => ("auth", ""),
        };
        self.int(1).int(ALL).text(scheme).text(id)
    }

    fn done(self) -> Bytes {
        self.0.freeze()
    }
}

/// A message with its length before it.
fn framed(message: &[u8]) -> Bytes {
    Message::new().bytes(message).done()
}

/// The frame of a hello. `timeout`: of the session that is asked for.
pub fn hello(ticket: &Ticket, timeout: Duration) -> Bytes {
    let timeout_ms = i32::try_from(timeout.as_millis()).unwrap_or(i32::MAX);
    // Without a session the password is so many zeros.
    let none = [0; 16];
    let password = if ticket.session == 0 {
        &none[..]
    } else {
        &ticket.password
    };
    let message = Message::new().int(0).long(ticket.zxid).int(timeout_ms);
    framed(&message.long(ticket.session).bytes(password).flag(false).done())
}

/// The frame of a request.
pub fn request(xid: i32, operation: Operation, body: &[u8]) -> Bytes {
    let mut message = Message::new().int(xid).int(operation as i32);
    message.0.put_slice(body);
    framed(&message.done())
}

/// The body of what makes a node. `is_place`: it ends with its session, and gets a number behind its name.
pub fn create(path: &str, data: &[u8], acl: Acl, is_place: bool) -> Bytes {
    let flags = if is_place { EPHEMERAL_SEQUENTIAL } else { 0 };
    Message::new().text(path).bytes(data).acl(acl).int(flags).done()
}

/// The body of what deletes a node.
pub fn delete(path: &str) -> Bytes {
    Message::new().text(path).int(ANY).done()
}

/// The body of what changes a node's data.
pub fn set_data(path: &str, data: &[u8]) -> Bytes {
    Message::new().text(path).bytes(data).int(ANY).done()
}

/// The body of a question about a node: whether it exists, its data, its children. `watch`: whether an event shall tell when that changes.
pub fn question(path: &str, watch: bool) -> Bytes {
    Message::new().text(path).flag(watch).done()
}

/// The body of what waits until this server knows what all have agreed on.
pub fn sync(path: &str) -> Bytes {
    Message::new().text(path).done()
}

/// The body of an authorization.
pub fn auth(scheme: &str, auth: &str) -> Bytes {
    Message::new().int(0).text(scheme).text(auth).done()
}

/// Takes the first frame from what was read, if it is whole.
pub fn take_frame(input: &mut BytesMut) -> Result<Option<Bytes>, String> {
    let Some(length) = input.first_chunk::<4>() else {
        return Ok(None);
    };
    let length = frame_length(*length)?;
    if input.len() < 4 + length {
        return Ok(None);
    }
    input.advance(4);
    Ok(Some(input.split_to(length).freeze()))
}

/// The length of a frame, in bytes.
pub fn frame_length(length: [u8; 4]) -> Result<usize, String> {
    let length = i32::from_be_bytes(length);
    let allowed = usize::try_from(length).ok().filter(|length| *length <= MOST_BYTES);
    allowed.ok_or_else(|| format!("an answer of {length} bytes came, which is none of ZooKeeper"))
}

/// Reads a welcome; `None`: the session has expired.
pub fn welcome(mut frame: Bytes, zxid: i64) -> Result<Option<Ticket>, Malformed> {
    let _version = frame.try_get_i32()?;
    let timeout_ms = frame.try_get_i32()?;
    let session = frame.try_get_i64()?;
    let password = take_bytes(&mut frame)?;
    let timeout = u64::try_from(timeout_ms).unwrap_or(0);
    Ok((timeout > 0).then(|| Ticket {
        session,
        password,
        timeout: Duration::from_millis(timeout),
        zxid,
    }))
}

/// Reads an answer.
pub fn answer(mut frame: Bytes) -> Result<Answer, Malformed> {
    Ok(Answer {
        xid: frame.try_get_i32()?,
        zxid: frame.try_get_i64()?,
        error: frame.try_get_i32()?,
        body: frame,
    })
}

/// The node that an event is about.
pub fn event_path(mut body: Bytes) -> Result<String, Malformed> {
    let _type = body.try_get_i32()?;
    let _state = body.try_get_i32()?;
    take_text(&mut body)
}

/// The data, or the one text, of an answer.
pub fn take_bytes(body: &mut Bytes) -> Result<Bytes, Malformed> {
    let length = usize::try_from(body.try_get_i32()?).unwrap_or(0);
    if body.len() < length {
        let (requested, available) = (length, body.len());
        return Err(TryGetError { requested, available }.into());
    }
    Ok(body.split_to(length))
}

/// A text of an answer.
pub fn take_text(body: &mut Bytes) -> Result<String, Malformed> {
    Ok(String::from_utf8(take_bytes(body)?.into())?)
}

/// The texts of an answer.
pub fn texts(mut body: Bytes) -> Result<Vec<String>, Malformed> {
    let count = body.try_get_i32()?;
    (0..count).map(|_| take_text(&mut body)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_the_bytes_that_zookeeper_reads() {
        // By the definitions in its file zookeeper.jute.
        let exists = request(7, Operation::Exists, &question("/a", true));
        assert_eq!(
            &exists[..],
            [
                &[0, 0, 0, 15][..],
                &[0, 0, 0, 7],
                &[0, 0, 0, 3],
                &[0, 0, 0, 2],
                b"/a",
                &[1]
            ]
            .concat()
        );
        let create = create("/a-", b"x", Acl::Creator, true);
        let parts = [
            &[0, 0, 0, 3][..],
            b"/a-",
            &[0, 0, 0, 1],
            b"x",
            &[0, 0, 0, 1, 0, 0, 0, 31, 0, 0, 0, 4],
            b"auth",
            &[0, 0, 0, 0],
            &[0, 0, 0, 3],
        ];
        assert_eq!(&create[..], parts.concat());
        let hello = hello(&Ticket::default(), Duration::from_secs(1));
        assert_eq!((hello.len(), &hello[..4]), (4 + 45, &[0, 0, 0, 45][..]));
    }

    #[test]
    fn a_frame_is_taken_when_it_is_whole() {
        let mut input = BytesMut::new();
        let frame = framed(b"hello");
        for byte in &frame[..frame.len() - 1] {
            input.put_u8(*byte);
            assert_eq!(take_frame(&mut input), Ok(None));
        }
        input.put_slice(&frame[frame.len() - 1..]);
        input.put_slice(b"next");
        assert_eq!(take_frame(&mut input), Ok(Some(Bytes::from_static(b"hello"))));
        assert_eq!(&input[..], b"next");
        let mut wrong = BytesMut::from(&b"HTTP/1.1"[..]);
        assert!(take_frame(&mut wrong).is_err());
    }

    #[test]
    fn what_is_cut_off_is_an_error() {
        let list = Message::new().int(2).text("one").text("two").done();
        assert_eq!(texts(list.clone()).unwrap(), ["one", "two"]);
        for end in 0..list.len() {
            assert!(texts(list.slice(..end)).is_err(), "{end}");
        }
        let expired = Message::new().int(0).int(0).long(5).bytes(&[0; 16]).done();
        assert_eq!(welcome(expired, 0).unwrap(), None);
    }
}
