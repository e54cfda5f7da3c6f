//! A client that others wrote: kcat, over librdkafka.

use std::io::Write;
use std::process::{Command, Stdio};

use anyhow::{Context, Result};
use flott_broker::Broker;

/// Runs kcat beside the broker's runtime.
async fn kcat(broker: &Broker, arguments: &[&str], input: &str) -> Result<String> {
    let mut command = Command::new("kcat");
    command.arg("-b").arg(broker.bootstrap()).args(arguments);
    let input = input.to_owned();
    let output = tokio::task::spawn_blocking(move || {
        let mut child = command
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .context("kcat cannot be started; install it")?;
        let mut stdin = child.stdin.take().context("stdin is piped")?;
        stdin.write_all(input.as_bytes())?;
        drop(stdin);
        anyhow::Ok(child.wait_with_output()?)
    })
    .await??;
    anyhow::ensure!(
        output.status.success(),
        "kcat {arguments:?}: {}",
        String::from_utf8_lossy(&output.stderr)
    );
    Ok(String::from_utf8(output.stdout)?)
}

#[tokio::test]
#[ignore = "needs kcat: .ci/run installs it"]
async fn kcat_produces_and_consumes() -> Result<()> {
    let broker = Broker::builder().start().await?;
    let lines: String = (0..1000).map(|line| format!("line {line}\n")).collect();
    for options in [&["-X", "enable.idempotence=true"][..], &["-z", "gzip"], &["-z", "lz4"]] {
        let topic = format!("t{}", options[1].len());
        let produce = [&["-P", "-t", &topic][..], options].concat();
        kcat(&broker, &produce, &lines).await?;
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
        assert_eq!(kcat(&broker, &consume, "").await?, lines, "{options:?}");
        assert_eq!(broker.log_end_offsets(&topic)?, [1000]);
        let tail = ["-C", "-t", &topic, "-o", "-2", "-e", "-q"];
        assert_eq!(kcat(&broker, &tail, "").await?, "line 998\nline 999\n");
        broker.delete_topic(&topic)?;
    }
    Ok(())
}
