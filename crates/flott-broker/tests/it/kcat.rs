//! A client that others wrote: kcat, over librdkafka. Skipped where there is no kcat.

use std::process::Stdio;

use anyhow::{Context, Result};
use flott_broker::Broker;
use tokio::io::AsyncWriteExt;
use tokio::process::Command;

/// Runs kcat; `None` where it is not installed.
async fn kcat(broker: &Broker, arguments: &[&str], input: &str) -> Result<Option<String>> {
    let mut command = Command::new("kcat");
    command.arg("-b").arg(broker.bootstrap()).args(arguments);
    let spawned = command
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    let mut child = match spawned {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        other => other?,
    };
    let mut stdin = child.stdin.take().context("stdin is piped")?;
    stdin.write_all(input.as_bytes()).await?;
    drop(stdin);
    let output = child.wait_with_output().await?;
    anyhow::ensure!(
        output.status.success(),
        "kcat {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(Some(String::from_utf8(output.stdout)?))
}

#[tokio::test]
async fn kcat_produces_and_consumes() -> Result<()> {
    let broker = Broker::builder().start().await?;
    let lines: String = (0..1000).map(|line| format!("line {line}\n")).collect();
    for options in [&["-X", "enable.idempotence=true"][..], &["-z", "gzip"], &["-z", "lz4"]] {
        let topic = format!("t{}", options[1].len());
        let produce = [&["-P", "-t", &topic][..], options].concat();
        if kcat(&broker, &produce, &lines).await?.is_none() {
            eprintln!("skipped: no kcat");
            return Ok(());
        }
        let consume = [
            "-C",
            "-t",
            &topic,
            "-o",
            "beginning",
            "-e",
            "-q",
            "-X",
            "check.crcs=true",
        ];
        assert_eq!(
            kcat(&broker, &consume, "").await?.as_deref(),
            Some(&*lines),
            "{options:?}"
        );
        assert_eq!(broker.log_end_offsets(&topic)?, [1000]);
        let tail = ["-C", "-t", &topic, "-o", "-2", "-e", "-q"];
        assert_eq!(kcat(&broker, &tail, "").await?.as_deref(), Some("line 998\nline 999\n"));
        broker.delete_topic(&topic)?;
    }
    Ok(())
}
