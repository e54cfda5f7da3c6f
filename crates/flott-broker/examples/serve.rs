//! Serves an embedded broker until Ctrl-C, for trying other clients on it:
//! `cargo run -p flott-broker --example serve -- 127.0.0.1:9092`

use anyhow::Context;
use flott_broker::Broker;

#[tokio::main]
async fn main() -> anyhow::Result<()> {
    let address = std::env::args().nth(1).unwrap_or_else(|| "127.0.0.1:0".to_owned());
    let broker = Broker::builder().listen(address).start().await?;
    println!("{}", broker.bootstrap());
    tokio::signal::ctrl_c().await.context("cannot wait for Ctrl-C")?;
    broker.shutdown().await;
    Ok(())
}
