//! Why an operation failed, in the form that Flink's client insists on: next to texts, a serialized Java object, which it really reads.
//!
//! The object is an `org.apache.flink.util.SerializedThrowable` in Java's Object Serialization Stream Protocol, version 5. It has a message
//! and a stack trace as text, and no exception of its own inside (`serializedException` is null), for which Flink takes the object itself.
//!
//! ```text
//! stream     := AC ED 00 05 object
//! object     := 73 description data
//! description of SerializedThrowable < Exception < Throwable, each:
//!               72 name(utf) serialVersionUID(8) flags(1) count(2) field* 78
//! field      := type('L' or '[') name(utf) 74 type-name(utf)
//! data       := of Throwable: cause, detailMessage, stackTrace, suppressedExceptions, 78 (it writes in a way of its own)
//!               of Exception: nothing
//!               of SerializedThrowable: fullStringifiedStackTrace, originalErrorClassName, serializedException
//! text       := 74 length(2) bytes, or 7C length(8) bytes from 64 KiB on; null := 70
//! ```

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};

/// What stands for the class of the failure: there is no Java class of it.
const CLASS: &str = "flott.OperationFailed";

const MAGIC_AND_VERSION: [u8; 4] = [0xAC, 0xED, 0x00, 0x05];
const NULL: u8 = 0x70;
const CLASS_DESCRIPTION: u8 = 0x72;
const OBJECT: u8 = 0x73;
const STRING: u8 = 0x74;
const END_OF_BLOCK: u8 = 0x78;
const LONG_STRING: u8 = 0x7C;

/// The class can be serialized.
const SERIALIZABLE: u8 = 0x02;
/// It also writes in a way of its own, behind which an end is marked.
const WRITES_ITSELF: u8 = 0x01;

/// A failure, as the fields `failure-cause` and `failureCause` have it.
pub(crate) fn json(reason: &str) -> Value {
    let trace = format!("{CLASS}: {reason}\n");
    json!({
        "class": CLASS,
        "stack-trace": trace,
        "serialized-throwable": STANDARD.encode(serialized(reason, &trace)),
    })
}

/// The Java object.
fn serialized(message: &str, stack_trace: &str) -> Vec<u8> {
    let mut stream = MAGIC_AND_VERSION.to_vec();
    stream.push(OBJECT);
    describe(
        &mut stream,
        "org.apache.flink.util.SerializedThrowable",
        7_284_183_123_441_947_635,
        SERIALIZABLE,
        &[
            ("fullStringifiedStackTrace", "Ljava/lang/String;"),
            ("originalErrorClassName", "Ljava/lang/String;"),
            ("serializedException", "[B"),
        ],
    );
    describe(
        &mut stream,
        "java.lang.Exception",
        -3_387_516_993_124_229_948,
        SERIALIZABLE,
        &[],
    );
    describe(
        &mut stream,
        "java.lang.Throwable",
        -3_042_686_055_658_047_285,
        SERIALIZABLE | WRITES_ITSELF,
        &[
            ("cause", "Ljava/lang/Throwable;"),
            ("detailMessage", "Ljava/lang/String;"),
            ("stackTrace", "[Ljava/lang/StackTraceElement;"),
            ("suppressedExceptions", "Ljava/util/List;"),
        ],
    );
    // No class above, as far as serialization goes.
    stream.push(NULL);
    stream.push(NULL);
    string(&mut stream, message);
    stream.extend([NULL, NULL, END_OF_BLOCK]);
    string(&mut stream, stack_trace);
    string(&mut stream, CLASS);
    stream.push(NULL);
    stream
}

/// A class without annotations; its superclass follows.
fn describe(stream: &mut Vec<u8>, name: &str, version: i64, flags: u8, fields: &[(&str, &str)]) {
    stream.push(CLASS_DESCRIPTION);
    utf(stream, name);
    stream.extend(version.to_be_bytes());
    stream.push(flags);
    stream.extend((fields.len() as u16).to_be_bytes());
    for (name, type_name) in fields {
        stream.push(type_name.as_bytes()[0]);
        utf(stream, name);
        stream.push(STRING);
        utf(stream, type_name);
    }
    stream.push(END_OF_BLOCK);
}

/// A name, which is short and plain.
fn utf(stream: &mut Vec<u8>, text: &str) {
    stream.extend((text.len() as u16).to_be_bytes());
    stream.extend(text.as_bytes());
}

fn string(stream: &mut Vec<u8>, text: &str) {
    let bytes = modified_utf8(text);
    match u16::try_from(bytes.len()) {
        Ok(length) => {
            stream.push(STRING);
            stream.extend(length.to_be_bytes());
        }
        Err(_) => {
            stream.push(LONG_STRING);
            stream.extend((bytes.len() as u64).to_be_bytes());
        }
    }
    stream.extend(bytes);
}

/// Java's own UTF-8: a NUL takes two bytes, and what UTF-16 writes as a pair is a pair here.
fn modified_utf8(text: &str) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(text.len());
    for unit in text.encode_utf16() {
        match unit {
            0x0001..=0x007F => bytes.push(unit as u8),
            0x0000 | 0x0080..=0x07FF => bytes.extend([0xC0 | (unit >> 6) as u8, 0x80 | (unit & 0x3F) as u8]),
            _ => bytes.extend([
                0xE0 | (unit >> 12) as u8,
                0x80 | ((unit >> 6) & 0x3F) as u8,
                0x80 | (unit & 0x3F) as u8,
            ]),
        }
    }
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn javas_utf8_differs_where_java_differs() {
        assert_eq!(modified_utf8("aé€"), "aé€".as_bytes());
        assert_eq!(modified_utf8("\0"), [0xC0, 0x80]);
        assert_eq!(modified_utf8("😀"), [0xED, 0xA0, 0xBD, 0xED, 0xB8, 0x80]);
    }

    #[test]
    fn long_texts_have_long_lengths() {
        let mut stream = vec![];
        string(&mut stream, &"x".repeat(70_000));
        assert_eq!(stream[..9], [LONG_STRING, 0, 0, 0, 0, 0, 1, 0x11, 0x70]);
    }

    /// What Java 17 has read as an object of Flink's class (2.x: its fields and its serialVersionUID), with message and trace.
    const READ_BY_JAVA: &str = "rO0ABXNyAClvcmcuYXBhY2hlLmZsaW5rLnV0aWwuU2VyaWFsaXplZFRocm93YWJsZWUWnfUfpxPzAgADTAAZZnVsbFN0cmluZ2lmaWVkU3RhY2\
         tUcmFjZXQAEkxqYXZhL2xhbmcvU3RyaW5nO0wAFm9yaWdpbmFsRXJyb3JDbGFzc05hbWV0ABJMamF2YS9sYW5nL1N0cmluZztbABNzZXJpYWxp\
         emVkRXhjZXB0aW9udAACW0J4cgATamF2YS5sYW5nLkV4Y2VwdGlvbtD9Hz4aOxzEAgAAeHIAE2phdmEubGFuZy5UaHJvd2FibGXVxjUnOXe4yw\
         MABEwABWNhdXNldAAVTGphdmEvbGFuZy9UaHJvd2FibGU7TAANZGV0YWlsTWVzc2FnZXQAEkxqYXZhL2xhbmcvU3RyaW5nO1sACnN0YWNrVHJh\
         Y2V0AB5bTGphdmEvbGFuZy9TdGFja1RyYWNlRWxlbWVudDtMABRzdXBwcmVzc2VkRXhjZXB0aW9uc3QAEExqYXZhL3V0aWwvTGlzdDt4cHB0AB\
         N0aGUgam9iIGlzIENBTkNFTEVEcHB4dAArZmxvdHQuT3BlcmF0aW9uRmFpbGVkOiB0aGUgam9iIGlzIENBTkNFTEVECnQAFWZsb3R0Lk9wZXJh\
         dGlvbkZhaWxlZHA=";

    #[test]
    fn the_stream_is_one_that_java_has_read() {
        assert_eq!(json("the job is CANCELED")["serialized-throwable"], READ_BY_JAVA);
    }

    #[test]
    fn the_stream_has_the_form_of_the_protocol() {
        let stream = serialized("boom", "flott.OperationFailed: boom\n");
        let name = b"org.apache.flink.util.SerializedThrowable";
        assert_eq!(stream[..8], [0xAC, 0xED, 0, 5, 0x73, 0x72, 0, name.len() as u8]);
        assert_eq!(&stream[8..8 + name.len()], name);
        assert_eq!(stream.last(), Some(&NULL));
    }
}
