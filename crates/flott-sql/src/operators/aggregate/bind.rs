//! From an aggregate's call to its kernel, state columns and last step.

use super::collect::Form;
use super::distinct::DistinctSpec;
use super::result::Finish;
use super::sliding::Wanted;
use super::{Aggregates, Bound, Kernel, Phase};
use crate::nodes::{AggregateCall, CallDetail, SUM0, SpecError, average_sum_kind, sum_kind};
use flott_core::{Field, TypeKind};

impl Aggregates {
    /// Binds one call whose first state column is `first`.
    ///
    /// # Errors
    /// If it cannot run in this phase.
    pub(super) fn bind(
        &mut self,
        input: &[Field],
        call: &AggregateCall,
        retracts: bool,
        first: usize,
    ) -> Result<Bound, SpecError> {
        let arg = call.args.first().copied();
        let kind = arg.map_or(&TypeKind::BigInt, |a| &input[a].ty.kind);
        let is_nested = matches!(
            kind,
            TypeKind::Row(_) | TypeKind::Array(_) | TypeKind::Map(..) | TypeKind::Multiset(_)
        );
        let (kernel, finish, width) = match call.function.as_str() {
            "SUM" => {
                let finish = if matches!(sum_kind(kind), TypeKind::Decimal(..)) {
                    Finish::DecimalSum
                } else {
                    Finish::Plain
                };
                (Kernel::Sum { counted: retracts }, finish, 1 + usize::from(retracts))
            }
            "AVG" => {
                let finish = match average_sum_kind(kind) {
                    TypeKind::Decimal(_, scale) => Finish::DecimalAverage { scale },
                    TypeKind::Double => Finish::FloatAverage,
                    _ => Finish::IntegerAverage,
                };
                (Kernel::Sum { counted: true }, finish, 2)
            }
            SUM0 => (Kernel::Sum { counted: false }, Finish::Plain, 1),
            "MIN" | "MAX" => {
                let is_max = call.function == "MAX";
                let wanted = if is_max { Wanted::Max } else { Wanted::Min };
                let kernel = match retracts {
                    true if self.phase == Phase::Frame => Kernel::Sliding { wanted },
                    true => Kernel::RetractedExtreme { is_max },
                    false => Kernel::Extreme { is_max },
                };
                (kernel, Finish::Plain, 1)
            }
            "FIRST_VALUE" | "LAST_VALUE" => {
                let is_last = call.function == "LAST_VALUE";
                let finish = if is_nested { Finish::Field } else { Finish::Plain };
                let wanted = if is_last { Wanted::Last } else { Wanted::First };
                match retracts {
                    // What DISTINCT lets pass does not leave in the order in which it came. The list is in the state of either.
                    true if self.phase == Phase::Frame && !call.distinct => (Kernel::Sliding { wanted }, finish, 2),
                    true => (Kernel::RetractedEdge { is_last }, finish, 2),
                    false => (Kernel::Edge { is_last }, finish, 1),
                }
            }
            "LAG" => {
                let offset = match call.detail {
                    CallDetail::Offset(offset) => offset,
                    _ => 1,
                };
                (Kernel::Lag { offset }, Finish::Plain, 2)
            }
            "LISTAGG" => {
                let separator = match &call.detail {
                    CallDetail::Separator(text) => text.as_str(),
                    _ => ",",
                };
                let finish = Finish::Joined {
                    separator: separator.into(),
                };
                (Kernel::Collected(Form::Texts), finish, 1)
            }
            "ARRAY_AGG" => (Kernel::Collected(Form::Fields), Finish::Array, 1),
            "COLLECT" => (Kernel::Collected(Form::Bag), Finish::Multiset, 1),
            "JSON_ARRAYAGG" => (Kernel::Collected(Form::Texts), Finish::JsonArray, 1),
            "JSON_OBJECTAGG" => (Kernel::Collected(Form::Object), Finish::JsonObject, 1),
            _ => (Kernel::Count, Finish::Plain, 1),
        };
        let skips_nulls = match call.function.as_str() {
            "ARRAY_AGG" | "JSON_ARRAYAGG" | "JSON_OBJECTAGG" => call.detail == CallDetail::AbsentNulls,
            function => function != "LAG",
        };
        let second = call.args.get(1).copied();
        let counted = match call.function.as_str() {
            "JSON_OBJECTAGG" => second,
            _ => arg,
        };
        // The extremes of a set and of its values are the same, so DISTINCT means nothing to MIN and MAX.
        let needs_set = match kernel {
            Kernel::RetractedExtreme { .. } => true,
            Kernel::Extreme { .. } | Kernel::Sliding { .. } => false,
            _ => call.distinct,
        };
        let distinct = match arg {
            Some(arg) if needs_set => {
                if self.phase == Phase::Local && matches!(kernel, Kernel::RetractedExtreme { .. }) {
                    return Err(SpecError::Aggregate {
                        call: format!("{}({kind})", call.function),
                        reason: "over input that retracts it runs in one phase only; plan it without a local phase"
                            .into(),
                    });
                }
                Some(self.distinct_set(input, arg, call.filter, retracts, !skips_nulls))
            }
            _ => None,
        };
        Ok(Bound {
            kernel,
            arg,
            second,
            counted: counted.filter(|_| skips_nulls),
            is_nested: is_nested && finish == Finish::Field,
            filter: call.filter,
            distinct,
            ordered: matches!(kernel, Kernel::RetractedExtreme { .. } | Kernel::Sliding { .. })
                .then(|| self.bound.iter().filter(|b| b.ordered.is_some()).count()),
            is_float: matches!(kind, TypeKind::Float) && call.function == "SUM",
            first,
            width,
            finish,
            ty: call.ty.clone(),
        })
    }

    fn distinct_set(
        &mut self,
        input: &[Field],
        arg: usize,
        filter: Option<usize>,
        retracts: bool,
        keeps_nulls: bool,
    ) -> (usize, usize) {
        let is_same = |d: &DistinctSpec| d.arg == arg && d.keeps_nulls == keeps_nulls;
        let set = self.distinct.iter().position(is_same).unwrap_or_else(|| {
            let ty = input[arg].ty.clone();
            self.distinct.push(DistinctSpec::new(arg, ty, retracts, keeps_nulls));
            self.distinct.len() - 1
        });
        (set, self.distinct[set].filter_index(filter))
    }
}
