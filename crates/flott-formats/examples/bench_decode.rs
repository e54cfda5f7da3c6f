//! Nanoseconds a row of the decoders and encoders, on text of the benchmark's shape.
//!
//! `cargo run --release -p flott-formats --example bench_decode [seconds per line [part of a line's name]]`
#![allow(clippy::unwrap_used)]

use arrow_array::ArrayRef;
use flott_core::Options;
use flott_core::types::{Field, LogicalType, TypeKind};
use flott_formats::{Decoder, EncodedRows, LineLimits, decoder, encoder};
use std::hint::black_box;
use std::time::{Duration, Instant};

fn field(name: &str, kind: TypeKind) -> Field {
    Field::new(name, LogicalType::new(kind))
}

fn text(name: &str) -> Field {
    Field::new(name, LogicalType::string())
}

fn bid() -> Vec<Field> {
    vec![
        field("auction", TypeKind::BigInt),
        field("bidder", TypeKind::BigInt),
        field("price", TypeKind::BigInt),
        text("channel"),
        text("url"),
        field("dateTime", TypeKind::Timestamp(3)),
        text("extra"),
    ]
}

fn row(name: &str, fields: Vec<Field>) -> Field {
    field(name, TypeKind::Row(fields))
}

fn times(name: &str) -> Field {
    row(name, vec![field("dateTime", TypeKind::Timestamp(3))])
}

/// 46 of 50 events are bids; the others are not in this text, as they would blur the figure.
fn bids(rows: usize) -> Vec<u8> {
    let mut out = vec![];
    for i in 0..rows {
        let line = format!(
            "{{\"event_type\":2,\"person\":null,\"auction\":null,\"bid\":{{\"auction\":{},\"bidder\":{},\"price\":{},\
             \"channel\":\"channel-{}\",\"url\":\"https://auction.example/abcd/efgh/ijkl/item.htm?query=1&channel_id={}\",\
             \"dateTime\":\"2026-01-01 {:02}:{:02}:{:02}.{:03}\",\"extra\":\"{}\"}}}}\n",
            1000 + i % 100,
            2000 + i % 1000,
            100 + i * 7919 % 100_000_000,
            i % 10_000,
            i * 12_345 % 1_000_000_000,
            i / 3_600_000 % 24,
            i / 60_000 % 60,
            i / 1000 % 60,
            i % 1000,
            &"abcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyzabcdefghijklmnopqrstuvwxyz"[..40 + i % 30],
        );
        out.extend_from_slice(line.as_bytes());
    }
    out
}

/// CPU time of this thread, so that other work of the machine does not show; wall time where Linux does not tell it.
fn cpu_time(start: Instant) -> Duration {
    let schedstat = std::fs::read_to_string("/proc/thread-self/schedstat").ok();
    let ns = schedstat.and_then(|s| s.split(' ').next().and_then(|ns| ns.parse().ok()));
    ns.map_or_else(|| start.elapsed(), Duration::from_nanos)
}

/// Calls `round`, which works on so many rows, for some time, and prints the time of a row.
fn measure(name: &str, seconds: f64, mut round: impl FnMut() -> usize) {
    if std::env::args().nth(2).is_some_and(|part| !name.contains(&part)) {
        return;
    }
    round();
    let start = Instant::now();
    let before = cpu_time(start);
    let mut rows = 0;
    while start.elapsed() < Duration::from_secs_f64(seconds) {
        rows += round();
    }
    let ns = (cpu_time(start) - before).as_nanos() as f64 / rows as f64;
    println!("{name:<58} {ns:8.1} ns/row {:8.2} M rows/s", 1000.0 / ns);
}

fn read_all(decoder: &mut dyn Decoder, block: &[u8]) -> usize {
    let (mut at, mut rows) = (0, 0);
    while at < block.len() {
        let limits = LineLimits {
            rows: 8192,
            bytes: 2 << 20,
            last: true,
        };
        let consumed = decoder.decode_lines(&block[at..], limits);
        assert!(consumed.bad.is_none());
        at += consumed.bytes;
        rows += decoder.rows();
        black_box(decoder.finish());
    }
    rows
}

fn main() {
    let seconds = std::env::args().nth(1).and_then(|s| s.parse().ok()).unwrap_or(0.5);
    let none = Options::new();
    let block = bids(8192);
    println!("a bid: {} bytes of JSON", block.len() / 8192);
    let physical = vec![
        field("event_type", TypeKind::Int),
        times("person"),
        times("auction"),
        row("bid", bid()),
    ];
    let pick = |names: &[&str]| {
        bid()
            .into_iter()
            .filter(|f| names.contains(&f.name.as_str()))
            .collect::<Vec<_>>()
    };
    let all = physical.clone();
    let q0 = vec![
        field("event_type", TypeKind::Int),
        times("person"),
        times("auction"),
        row("bid", pick(&["auction", "bidder", "price", "dateTime", "extra"])),
    ];
    let q5 = vec![
        field("event_type", TypeKind::Int),
        times("person"),
        times("auction"),
        row("bid", pick(&["auction", "dateTime"])),
    ];
    for (name, projected) in [
        ("json lines, all 7 fields of the bid", &all),
        ("json lines, q0's 5", &q0),
        ("json lines, q5's 2", &q5),
    ] {
        let mut json = decoder("json", &none, &physical, projected).unwrap();
        measure(name, seconds, || read_all(json.as_mut(), &block));
    }
    let mut json = decoder("json", &none, &physical, &q0).unwrap();
    let lines: Vec<&[u8]> = block.split(|b| *b == b'\n').filter(|l| !l.is_empty()).collect();
    measure("json messages, q0's 5", seconds, || {
        for line in &lines {
            json.decode(line).unwrap();
        }
        black_box(json.finish());
        lines.len()
    });

    let columns = vec![text("website"), text("user"), field("traffic", TypeKind::BigInt)];
    let visits: Vec<u8> = (0..8192)
        .flat_map(|i| format!("site{},u{},{}\n", i % 10, i % 1000, i % 97).into_bytes())
        .collect();
    let projected = vec![columns[0].clone(), columns[2].clone()];
    for (name, projected) in [
        ("csv lines, 2 of 3 columns", &projected),
        ("csv lines, 3 columns", &columns),
    ] {
        let mut csv = decoder("csv", &none, &columns, projected).unwrap();
        measure(name, seconds, || read_all(csv.as_mut(), &visits));
    }
    let mut csv = decoder("csv", &none, &columns, &projected).unwrap();
    let lines: Vec<&[u8]> = visits.split(|b| *b == b'\n').filter(|l| !l.is_empty()).collect();
    measure("csv messages, 2 of 3 columns", seconds, || {
        for line in &lines {
            csv.decode(line).unwrap();
        }
        black_box(csv.finish());
        lines.len()
    });

    let mut json = decoder("json", &none, &physical, &all).unwrap();
    for line in block.split(|b| *b == b'\n') {
        json.decode(line).unwrap();
    }
    let batch = json.finish();
    let bid_columns: Vec<ArrayRef> = {
        use arrow_array::cast::AsArray;
        batch[3].as_struct().columns().to_vec()
    };
    for format in ["json", "csv"] {
        let mut writer = encoder(format, &none, &bid()).unwrap();
        let mut out = EncodedRows::new();
        measure(&format!("{format} writing, 7 columns of the bid"), seconds, || {
            out.clear();
            writer.encode(&bid_columns, 8192, &mut out).unwrap();
            black_box(&out);
            8192
        });
    }
}
