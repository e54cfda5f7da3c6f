//! Runs the conformance checks against a broker: `cargo run -p flott-broker --example broker_check -- 127.0.0.1:9092`

use anyhow::Context;

#[tokio::main(flavor = "current_thread")]
async fn main() -> anyhow::Result<()> {
    let bootstrap = std::env::args().nth(1).context("usage: broker_check HOST:PORT")?;
    let passed = flott_broker::conformance::check_broker(&bootstrap).await?;
    for check in &passed {
        println!("ok {check}");
    }
    println!("{} checks passed", passed.len());
    Ok(())
}
