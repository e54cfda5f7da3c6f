use super::*;
use flott_core::Options;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::net::{TcpListener, TcpStream};

fn pair() -> (DuplexStream, DuplexStream) {
    duplex(64 << 10)
}

/// Both sides of a handshake; the server welcomes, or refuses with a text.
async fn handshake(
    client: &str,
    server: &str,
    refusal: Option<&str>,
) -> (Result<(), NetError>, Result<Vec<u8>, NetError>) {
    let (mut a, mut b) = pair();
    let (client, server) = (Secret::new(client), Secret::new(server));
    tokio::join!(connect(&mut a, &client, b"control: tm-1"), async {
        let hello = accept(&mut b, &server).await?;
        let bytes = hello.bytes().to_vec();
        match refusal {
            None => hello.welcome(&mut b).await?,
            Some(text) => hello.refuse(&mut b, text).await?,
        }
        Ok(bytes)
    })
}

#[tokio::test]
async fn who_knows_the_secret_is_let_in() {
    for secret in ["", "s3cret", &"long".repeat(100)] {
        let (client, server) = handshake(secret, secret, None).await;
        client.unwrap();
        assert_eq!(server.unwrap(), b"control: tm-1");
    }
}

#[tokio::test]
async fn another_secret_is_told_to_both() {
    for (client, server) in [("a", "b"), ("", "b"), ("a", "")] {
        let (client, server) = handshake(client, server, None).await;
        assert!(matches!(client, Err(NetError::WrongSecret)), "{client:?}");
        assert!(matches!(server, Err(NetError::WrongSecret)), "{server:?}");
    }
}

#[tokio::test]
async fn a_refusal_brings_its_text_cut_to_the_bound() {
    let (client, server) = handshake("s", "s", Some("this is the other port")).await;
    server.unwrap();
    let error = client.unwrap_err().to_string();
    assert_eq!(error, "refused by the other side: this is the other port");
    let (client, _) = handshake("s", "s", Some(&"ä".repeat(MAX_REFUSAL_BYTES))).await;
    let Err(NetError::Refused { text }) = client else {
        panic!("{client:?}");
    };
    assert_eq!(text, "ä".repeat(MAX_REFUSAL_BYTES / 2));
}

#[tokio::test]
async fn a_server_that_does_not_know_the_secret_is_not_believed() {
    let (mut a, mut b) = pair();
    let secret = Secret::new("s");
    let (client, ()) = tokio::join!(connect(&mut a, &secret, b"hello"), async {
        let nonce = [7; 32];
        b.write_all(&[&b"FLOTTNET"[..], &PROTOCOL_VERSION.to_le_bytes(), &nonce].concat())
            .await
            .unwrap();
        let mut said = vec![0; 12 + 32 + 4 + 5 + 32];
        b.read_exact(&mut said).await.unwrap();
        // A welcome, with a proof that is none.
        b.write_all(&[0; 1 + 4 + 32]).await.unwrap();
    });
    assert!(matches!(client, Err(NetError::WrongSecret)), "{client:?}");
}

#[tokio::test]
async fn other_versions_are_named_on_both_sides() {
    let (mut a, mut b) = pair();
    let newer = (PROTOCOL_VERSION + 1).to_le_bytes();
    let opening = [&b"FLOTTNET"[..], &newer].concat();
    b.write_all(&opening).await.unwrap();
    let client = connect(&mut a, &Secret::none(), b"hello").await;
    let said = client.unwrap_err().to_string();
    assert!(said.contains("version 2 ") && said.contains("this one 1"), "{said}");
    // The server of another version reads which one the client has.
    let mut answer = [0; 12];
    b.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer[..8], b"FLOTTNET");
    assert_eq!(answer[8..], PROTOCOL_VERSION.to_le_bytes());

    let (mut a, mut b) = pair();
    b.write_all(&opening).await.unwrap();
    let said = accept(&mut a, &Secret::none()).await.unwrap_err().to_string();
    assert!(said.contains("version 2 ") && said.contains("this one 1"), "{said}");
}

#[tokio::test]
async fn strangers_are_recognised() {
    let (mut a, mut b) = pair();
    b.write_all(b"GET / HTTP/1.1\r\n").await.unwrap();
    let said = accept(&mut a, &Secret::none()).await.unwrap_err().to_string();
    assert!(said.contains("not Flott") && said.contains("GET / HT"), "{said}");

    let (mut a, mut b) = pair();
    b.write_all(b"HTTP/1.1 400").await.unwrap();
    let said = connect(&mut a, &Secret::none(), b"hello")
        .await
        .unwrap_err()
        .to_string();
    assert!(said.contains("not Flott") && said.contains("HTTP/1.1"), "{said}");

    let (mut a, b) = pair();
    drop(b);
    let silent = connect(&mut a, &Secret::none(), b"hello").await.unwrap_err();
    assert!(matches!(silent, NetError::Silent), "{silent}");
    let (mut a, b) = pair();
    drop(b);
    let closed = accept(&mut a, &Secret::none()).await.unwrap_err();
    assert!(!matches!(closed, NetError::Timeout { .. }), "{closed}");
}

#[tokio::test]
async fn long_hellos_are_refused_by_both() {
    let (mut a, _b) = pair();
    let long = vec![0; MAX_HELLO_BYTES + 1];
    let said = connect(&mut a, &Secret::none(), &long).await.unwrap_err().to_string();
    assert!(said.contains("a hello of 4097 bytes is longer than the 4096"), "{said}");

    let (mut a, mut b) = pair();
    let opening = [&b"FLOTTNET"[..], &PROTOCOL_VERSION.to_le_bytes(), &[0; 32], &[255; 4]].concat();
    b.write_all(&opening).await.unwrap();
    let said = accept(&mut a, &Secret::none()).await.unwrap_err().to_string();
    assert!(said.contains("hello of 4294967295 bytes"), "{said}");
}

#[tokio::test]
async fn messages_come_back_and_are_bounded() {
    let (mut a, mut b) = pair();
    let long = vec![3; 200_000];
    let (written, ()) = tokio::join!(
        async {
            write_message(&mut a, b"", 10).await?;
            write_message(&mut a, b"0123456789", 10).await?;
            write_message(&mut a, &long, 200_000).await
        },
        async {
            assert_eq!(read_message(&mut b, 10).await.unwrap(), Some(vec![]));
            assert_eq!(read_message(&mut b, 10).await.unwrap(), Some(b"0123456789".to_vec()));
            assert_eq!(read_message(&mut b, 200_000).await.unwrap().as_ref(), Some(&long));
        }
    );
    written.unwrap();
    let error = write_message(&mut a, b"0123456789", 9).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "a message of 10 bytes is longer than the 9 that are allowed"
    );
    write_message(&mut a, b"0123456789", 10).await.unwrap();
    let error = read_message(&mut b, 9).await.unwrap_err();
    assert!(
        matches!(
            error,
            NetError::TooLong {
                length: 10,
                bound: 9,
                ..
            }
        ),
        "{error}"
    );
}

#[tokio::test]
async fn a_message_that_is_cut_is_an_error_and_an_end_between_two_is_not() {
    for (sent, is_whole) in [(&b""[..], true), (b"\x05\0", false), (b"\x05\0\0\0ab", false)] {
        let (mut a, mut b) = pair();
        a.write_all(sent).await.unwrap();
        drop(a);
        match read_message(&mut b, 10).await {
            Ok(None) => assert!(is_whole),
            Err(NetError::Closed) => assert!(!is_whole),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_secret_is_not_printed() {
    let secret = Secret::new("hunter2");
    assert_eq!(format!("{secret:?}"), "Secret(..)");
    assert!(Secret::none().is_empty() && !secret.is_empty());
}

#[test]
fn a_secret_may_be_in_a_file_and_is_in_one_place_only() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("secret");
    let file = path.to_str().unwrap();
    let read = |options: &[(&str, &str)]| {
        let options: Options = options.iter().copied().collect();
        secret_text(&options, "a.secret").map_err(|e| e.to_string())
    };
    std::fs::write(&path, "hunter2\n").unwrap();
    assert_eq!(read(&[]), Ok(None));
    assert_eq!(read(&[("a.secret", "hunter3")]), Ok(Some("hunter3".to_owned())));
    assert_eq!(read(&[("a.secret-file", file)]), Ok(Some("hunter2".to_owned())));
    let both = read(&[("a.secret", "hunter3"), ("a.secret-file", file)]).unwrap_err();
    assert!(both.contains("left out where a.secret is given"), "{both}");
    let missing = read(&[("a.secret-file", "/no/such/file")]).unwrap_err();
    assert!(
        missing.contains("'a.secret-file'") && missing.contains("/no/such/file"),
        "{missing}"
    );
    let empty = read(&[("a.secret", " ")]).unwrap_err();
    assert!(empty.contains("empty"), "{empty}");
}

#[tokio::test]
async fn only_so_many_strangers_are_let_in_at_once() {
    let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
    let address = listener.local_addr().unwrap();
    let mut clients = vec![];
    for _ in 0..3 {
        clients.push(TcpStream::connect(address).await.unwrap());
    }
    let strangers = Strangers::at_most(2);
    let (_, _, first) = strangers.next(&listener).await.unwrap();
    let (_, _, _second) = strangers.next(&listener).await.unwrap();
    // It is in the queue: without the bound it would be let in at once.
    let third = tokio::time::timeout(Duration::from_millis(200), strangers.next(&listener)).await;
    assert!(third.is_err(), "a third one was let in");
    drop(first);
    let (_, from, _) = strangers.next(&listener).await.unwrap();
    assert_eq!(from, clients[2].local_addr().unwrap());
}
