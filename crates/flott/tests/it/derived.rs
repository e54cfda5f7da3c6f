//! `#[derive(StateValue)]` and `#[derive(Key)]`: what comes back, and what a later program makes of it.

use flott::prelude::*;
use flott::state::LogicalType;
use std::fmt::Debug;

fn bytes_of<V: StateValue>(value: &V) -> Vec<u8> {
    let mut bytes = vec![];
    value.write_field(&mut bytes);
    bytes
}

fn read_as<V: StateValue>(stored: &LogicalType, bytes: &[u8]) -> V {
    V::check(stored).unwrap();
    let mut rest = bytes;
    let value = V::read_field(stored, &mut rest).unwrap();
    assert!(rest.is_empty());
    value
}

fn comes_back<V: StateValue + PartialEq + Debug>(value: &V) {
    let bytes = bytes_of(value);
    assert_eq!(&read_as::<V>(&V::state_type(), &bytes), value);
    for cut in 0..bytes.len() {
        assert!(
            V::read_field(&V::state_type(), &mut &bytes[..cut]).is_err(),
            "cut at {cut}"
        );
    }
}

#[derive(Debug, Clone, PartialEq, StateValue)]
enum Status {
    Open,
    Paid { cents: i64, by: Option<String> },
    Sent(String, u32),
}

#[derive(Debug, Clone, PartialEq, StateValue)]
struct Order<T> {
    id: T,
    r#type: String,
    states: Vec<(Status, i64)>,
    #[state(skip)]
    cached: usize,
    #[state(rename = "sum")]
    total: f64,
}

#[derive(Debug, Clone, PartialEq, StateValue)]
struct Pair(i32, String);

fn order() -> Order<u64> {
    Order {
        id: 7,
        r#type: "gift".into(),
        states: vec![
            (Status::Open, 1),
            (Status::Paid { cents: 250, by: None }, 2),
            (Status::Sent("x".into(), 3), 3),
        ],
        cached: 0,
        total: 2.5,
    }
}

#[test]
fn structs_and_enums_come_back() {
    comes_back(&order());
    comes_back(&Pair(-1, "zoë".into()));
    comes_back(&vec![Some(Status::Open), None]);
    let cached = Order { cached: 9, ..order() };
    assert_eq!(
        read_as::<Order<u64>>(&Order::<u64>::state_type(), &bytes_of(&cached)),
        order()
    );
    assert_eq!(
        Order::<i32>::state_type().to_string(),
        "ROW<`id` INT NOT NULL, `type` STRING NOT NULL, `states` ARRAY<ROW<`f0` ROW<`Open` BOOLEAN, \
         `Paid` ROW<`cents` BIGINT NOT NULL, `by` STRING>, `Sent` ROW<`f0` STRING NOT NULL, `f1` BIGINT NOT NULL>> NOT NULL, \
         `f1` BIGINT NOT NULL> NOT NULL> NOT NULL, `sum` DOUBLE NOT NULL> NOT NULL"
    );
    assert_eq!(
        Pair::state_type(),
        <(i32, String)>::state_type(),
        "a tuple may become a struct"
    );
}

#[derive(Clone, StateValue)]
struct VisitBefore {
    website: String,
    gone: Vec<Status>,
    clicks: i32,
    user: String,
}

fn no_region() -> String {
    "nowhere".into()
}

#[derive(Debug, Clone, PartialEq, StateValue)]
struct Visit {
    #[state(default = no_region)]
    region: String,
    user: Option<String>,
    #[state(alias = "hits", alias = "clicks")]
    count: i64,
    website: String,
    note: Option<String>,
    #[state(default)]
    seen: bool,
}

#[test]
fn a_later_program_reads_what_an_earlier_one_kept() {
    let before = VisitBefore {
        website: "a.com".into(),
        gone: vec![Status::Open, Status::Sent(String::new(), 1)],
        clicks: 3,
        user: "u".into(),
    };
    let visit: Visit = read_as(&VisitBefore::state_type(), &bytes_of(&before));
    let expected = Visit {
        region: "nowhere".into(),
        user: Some("u".into()),
        count: 3,
        website: "a.com".into(),
        note: None,
        seen: false,
    };
    assert_eq!(visit, expected);

    #[derive(Debug, Clone, PartialEq, StateValue)]
    enum StatusNow {
        Lost,
        #[state(alias = "Paid")]
        Settled {
            #[state(default)]
            at: i64,
            cents: i64,
        },
        Sent(String),
        Open,
    }
    let paid = Status::Paid {
        cents: 5,
        by: Some("me".into()),
    };
    let ty = Status::state_type();
    assert_eq!(
        read_as::<StatusNow>(&ty, &bytes_of(&paid)),
        StatusNow::Settled { at: 0, cents: 5 }
    );
    assert_eq!(
        read_as::<StatusNow>(&ty, &bytes_of(&Status::Sent("x".into(), 1))),
        StatusNow::Sent("x".into())
    );
    comes_back(&StatusNow::Lost);
}

#[test]
fn what_cannot_be_read_is_refused_with_the_field() {
    #[derive(Clone, StateValue)]
    struct Narrow {
        clicks: i16,
    }
    #[derive(Clone, StateValue)]
    struct New {
        clicks: i64,
        region: String,
    }
    #[derive(Clone, StateValue)]
    struct Both {
        #[state(alias = "clicks", alias = "user")]
        one: String,
    }
    #[derive(Clone, StateValue)]
    enum Fewer {
        Open,
    }
    let before = VisitBefore::state_type();
    let cases = [
        (
            Narrow::check(&before),
            "field 'clicks': it was INT NOT NULL, and is now SMALLINT NOT NULL",
        ),
        (
            New::check(&before),
            "field 'region' is new and has no default: write #[state(default)] in front of it, make it an Option, or name the field \
             that it was with #[state(alias = \"…\")]",
        ),
        (
            Both::check(&before),
            "the fields 'clicks' and 'user' were kept, and both are 'one' now: take the alias away",
        ),
        (
            Fewer::check(&Status::state_type()),
            "the variant 'Paid' was kept, and is no more: keep it, or name it where it went with #[state(alias = \"Paid\")]",
        ),
    ];
    for (checked, expected) in cases {
        assert_eq!(checked.unwrap_err(), expected);
    }
    assert!(
        Visit::check(&String::state_type())
            .unwrap_err()
            .starts_with("it was STRING NOT NULL, and is now ROW<")
    );
    // They are only looked at.
    let _ = (
        Narrow { clicks: 1 }.clicks,
        New {
            clicks: 1,
            region: String::new(),
        }
        .clicks,
        Fewer::Open,
    );
    let _ = Both { one: String::new() }.one;
}

/// A city and a street of it.
#[derive(Debug, Clone, PartialEq, Key)]
struct Place {
    city: String,
    street: (i32, Option<String>),
}

#[test]
fn a_struct_is_a_key() {
    let env = super::env();
    let street = |city: &str, number: i32| Place {
        city: city.into(),
        street: (number, (number > 1).then(|| "b".to_owned())),
    };
    let visits = ["a1", "b1", "a1", "a2"].map(String::from);
    let counts = env
        .from_collection(visits)
        .key_by(move |v| street(&v[..1], v[1..].parse().unwrap_or(0)))
        .process(CountPlaces::default());
    let expected = ["a1: 1", "a1: 2", "a2: 1", "b1: 1"];
    assert_eq!(super::sorted(counts), expected);
}

#[derive(Clone, Default)]
struct CountPlaces(ValueState<i64>);

impl KeyedProcessFunction<Place, String> for CountPlaces {
    type Out = String;

    fn open(&mut self, ctx: &mut OpenContext) -> Result<(), BoxError> {
        self.0 = ctx.value_state("count")?;
        Ok(())
    }

    fn process_element(&mut self, _: String, ctx: &mut ProcessContext<'_, Place, String>) -> Result<(), BoxError> {
        let count = self.0.value(ctx).copied().unwrap_or(0) + 1;
        self.0.update(ctx, count);
        let Place { city, street } = ctx.current_key().clone();
        ctx.collect(format!("{city}{}: {count}", street.0));
        Ok(())
    }
}
