//! Compiled expressions: a graph in which equal subtrees are one node, run once per batch.
//!
//! ```text
//! a * 2 > 10 AND a * 2 < b        nodes: 0 a   1 2   2 *(0,1)   3 10   4 >(2,3)   5 b   6 <(2,5)   7 AND(4,6)
//! ```
//!
//! Invariants: a node's arguments have smaller numbers; constants are folded while compiling and stay single values
//! while running; a call that can fail on a row (division, CAST of text) runs under `CASE`, `AND`, `OR` and their kin
//! only on the rows that ask for it, as if evaluated row by row. What cannot fail runs on all rows: that is cheaper
//! than picking rows.

use super::functions::text_search::replaced_length;
use super::literal;
use super::registry::{self, Call, Fails, Kernel};
use super::time_zone::TimeZone;
use super::value::{Value, kernel_error};
use super::{Expr, ExprError, Literal};
use arrow_array::{Array, ArrayRef, BooleanArray, Datum, Scalar, new_empty_array};
use arrow_buffer::{BooleanBuffer, BooleanBufferBuilder};
use arrow_schema::DataType;
use arrow_select::filter::{FilterBuilder, FilterPredicate};
use flott_core::clock::{SharedClock, SystemClock};
use flott_core::{Batch, LogicalType, TypeKind};
use std::cell::RefCell;
use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};

/// What expressions need from the job besides their rows.
#[derive(Debug, Clone)]
pub struct EvalContext {
    /// `table.local-time-zone`: how TIMESTAMP_LTZ reads on a wall.
    pub time_zone: TimeZone,
    /// Where `CURRENT_TIMESTAMP` and `PROCTIME` look.
    pub clock: SharedClock,
    /// Where `CURRENT_WATERMARK` looks.
    pub watermark: CurrentWatermark,
}

/// The watermark that has come so far, told to expressions by the operator that runs them.
#[derive(Debug, Clone)]
pub struct CurrentWatermark(Arc<AtomicI64>);

impl CurrentWatermark {
    /// The last watermark in milliseconds; none has come: `None`.
    pub fn get(&self) -> Option<i64> {
        let ms = self.0.load(Ordering::Relaxed);
        (ms != i64::MIN).then_some(ms)
    }

    /// A watermark has come.
    pub fn set(&self, ms: i64) {
        self.0.store(ms, Ordering::Relaxed);
    }
}

impl Default for CurrentWatermark {
    fn default() -> Self {
        Self(Arc::new(AtomicI64::new(i64::MIN)))
    }
}

impl Default for EvalContext {
    /// UTC and the machine's clock.
    fn default() -> Self {
        Self {
            time_zone: TimeZone::UTC,
            clock: Arc::new(SystemClock),
            watermark: CurrentWatermark::default(),
        }
    }
}

/// Several expressions over one input; what they have in common is computed once.
pub struct CompiledExprs {
    program: Program,
    roots: Vec<(usize, DataType)>,
}

/// One expression, ready to run.
pub struct CompiledExpr(CompiledExprs);

/// Prepares `expr`.
///
/// # Errors
/// If a call in it is unknown to this version, or has a constant argument that cannot work (a pattern).
pub fn compile(expr: &Expr, context: &EvalContext) -> Result<CompiledExpr, ExprError> {
    compile_many(std::slice::from_ref(expr), context).map(CompiledExpr)
}

/// Prepares several expressions over one input (a projection): equal subtrees run once.
///
/// # Errors
/// As [`compile`].
pub fn compile_many(exprs: &[Expr], context: &EvalContext) -> Result<CompiledExprs, ExprError> {
    let mut compiler = Compiler {
        context,
        nodes: vec![],
        known: HashMap::new(),
    };
    let mut roots = Vec::with_capacity(exprs.len());
    for expr in exprs {
        roots.push((compiler.add(expr)?, expr.ty().to_arrow()));
    }
    Ok(CompiledExprs {
        program: Program { nodes: compiler.nodes },
        roots,
    })
}

/// Larger constants are made where they are used: a plan holds its constants many times.
const MAX_CONSTANT_BYTES: usize = 1 << 20;

/// The same expression with every part that is the same for all rows and times computed. Parts that fail stay as they
/// are, so that they fail when (and only if) a row needs them.
pub fn fold_constants(expr: &Expr, context: &EvalContext) -> Expr {
    if matches!(expr, Expr::Call { .. }) && expr.is_constant() {
        let folded = compile(expr, context)
            .and_then(|c| c.evaluate(&Batch::new(vec![], 1)))
            .ok()
            .filter(|array| array.get_array_memory_size() <= MAX_CONSTANT_BYTES)
            .and_then(|array| literal::from_array(array.as_ref(), expr.ty()));
        return folded.unwrap_or_else(|| expr.clone());
    }
    match expr {
        Expr::Call { function, args, ty } => Expr::Call {
            function: function.clone(),
            args: args.iter().map(|a| fold_constants(a, context)).collect(),
            ty: ty.clone(),
        },
        _ => expr.clone(),
    }
}

impl CompiledExpr {
    /// The value for every row of `batch`, as the Arrow type of the expression's type.
    ///
    /// # Errors
    /// If a row's value makes a function fail, as Flink would.
    pub fn evaluate(&self, batch: &Batch) -> Result<ArrayRef, ExprError> {
        let mut columns = self.0.evaluate(batch)?;
        Ok(columns.swap_remove(0))
    }

    /// The rows of `batch` for which this BOOLEAN expression is true, as a mask without NULLs.
    ///
    /// # Errors
    /// As [`Self::evaluate`].
    pub fn evaluate_condition(&self, batch: &Batch) -> Result<BooleanArray, ExprError> {
        let column = self.evaluate(batch)?;
        Ok(BooleanArray::new(
            truth(&Value::Column(column), batch.num_rows())?,
            None,
        ))
    }
}

impl CompiledExprs {
    /// One column per expression.
    ///
    /// # Errors
    /// If a row's value makes a function fail, as Flink would.
    pub fn evaluate(&self, batch: &Batch) -> Result<Vec<ArrayRef>, ExprError> {
        if batch.is_empty() {
            return Ok(self.roots.iter().map(|(_, ty)| new_empty_array(ty)).collect());
        }
        let frame = Frame::new(&self.program, Rows::All(batch), batch.num_rows());
        let column = |(root, _): &(usize, DataType)| frame.value(*root)?.into_column(batch.num_rows());
        self.roots.iter().map(column).collect()
    }
}

struct Program {
    nodes: Vec<Node>,
}

struct Node {
    op: Op,
    /// Whether it or something below can fail on a row.
    fails: bool,
}

enum Op {
    Input(usize),
    Constant(ArrayRef),
    Call {
        kernel: Kernel,
        args: Vec<usize>,
    },
    /// Three-valued AND or OR of two conditions.
    Connective {
        and: bool,
        left: usize,
        right: usize,
    },
    /// The value of the first branch whose condition is true.
    Case {
        branches: Vec<(usize, usize)>,
        otherwise: usize,
        ty: DataType,
    },
}

struct Compiler<'a> {
    context: &'a EvalContext,
    nodes: Vec<Node>,
    known: HashMap<Expr, usize>,
}

impl Compiler<'_> {
    fn add(&mut self, expr: &Expr) -> Result<usize, ExprError> {
        if let Some(node) = self.known.get(expr) {
            return Ok(*node);
        }
        let node = match expr {
            Expr::InputRef { index, .. } => self.push(Op::Input(*index), false),
            Expr::Literal { value, ty } => {
                let array = literal::to_array(value, ty)?;
                self.push(Op::Constant(array), false)
            }
            Expr::Call { function, args, ty } => self.add_call(function, args, ty)?,
        };
        self.known.insert(expr.clone(), node);
        Ok(node)
    }

    fn push(&mut self, op: Op, fails: bool) -> usize {
        self.nodes.push(Node { op, fails });
        self.nodes.len() - 1
    }

    fn add_call(&mut self, function: &str, args: &[Expr], ty: &LogicalType) -> Result<usize, ExprError> {
        match (function, args) {
            ("AND" | "OR", [first, rest @ ..]) if !rest.is_empty() => {
                let mut left = self.add(first)?;
                for arg in rest {
                    let right = self.add(arg)?;
                    let fails = self.nodes[left].fails || self.nodes[right].fails;
                    let and = function == "AND";
                    left = self.push(Op::Connective { and, left, right }, fails);
                }
                Ok(left)
            }
            ("CASE", [branches @ .., otherwise]) => {
                let pairs: Vec<(&Expr, &Expr)> = branches.chunks_exact(2).map(|p| (&p[0], &p[1])).collect();
                self.add_case(&pairs, otherwise, ty)
            }
            ("IF", [condition, then, otherwise]) => self.add_case(&[(condition, then)], otherwise, ty),
            ("COALESCE" | "IFNULL", [values @ .., last]) => {
                let boolean = LogicalType::not_null(TypeKind::Boolean);
                let tests: Vec<Expr> = values
                    .iter()
                    .map(|v| Expr::call("IS NOT NULL", vec![v.clone()], boolean.clone()))
                    .collect();
                let pairs: Vec<(&Expr, &Expr)> = tests.iter().zip(values).collect();
                self.add_case(&pairs, last, ty)
            }
            ("CHAR_LENGTH", [replaced]) => match letter_replaced(replaced) {
                Some((text, kernel)) => {
                    let text = self.add(text)?;
                    let fails = self.nodes[text].fails;
                    let args = vec![text];
                    Ok(self.push(Op::Call { kernel, args }, fails))
                }
                None => self.add_kernel(function, args, ty),
            },
            _ => self.add_kernel(function, args, ty),
        }
    }

    fn add_case(&mut self, pairs: &[(&Expr, &Expr)], otherwise: &Expr, ty: &LogicalType) -> Result<usize, ExprError> {
        let mut branches = Vec::with_capacity(pairs.len());
        for (condition, value) in pairs {
            branches.push((self.add(condition)?, self.add(value)?));
        }
        let otherwise = self.add(otherwise)?;
        let below = branches.iter().flat_map(|(c, v)| [*c, *v]).chain([otherwise]);
        let fails = below.into_iter().any(|n| self.nodes[n].fails);
        let op = Op::Case {
            branches,
            otherwise,
            ty: ty.to_arrow(),
        };
        Ok(self.push(op, fails))
    }

    fn add_kernel(&mut self, function: &str, args: &[Expr], ty: &LogicalType) -> Result<usize, ExprError> {
        let call = Call {
            name: function,
            args,
            ty,
            context: self.context,
        };
        let entry = registry::lookup(function).ok_or_else(|| call.not_executable())?;
        let kernel = (entry.build)(&call)?;
        let nodes: Vec<usize> = args.iter().map(|a| self.add(a)).collect::<Result<_, _>>()?;
        let constants: Option<Vec<Value>> = nodes
            .iter()
            .map(|n| match &self.nodes[*n].op {
                Op::Constant(array) => Some(Value::Scalar(array.clone())),
                _ => None,
            })
            .collect();
        if let (Some(values), false) = (constants, entry.dynamic)
            && let Ok(array) = kernel(&values, 1)
        {
            return Ok(self.push(Op::Constant(array), false));
        }
        let itself = match entry.fails {
            Fails::Never => false,
            Fails::When(test) => test(args, ty),
        };
        let fails = itself || nodes.iter().any(|n| self.nodes[*n].fails);
        Ok(self.push(Op::Call { kernel, args: nodes }, fails))
    }
}

/// The text of `REPLACE(text, 'c', 'by')`, and the kernel of the result's length.
fn letter_replaced(expr: &Expr) -> Option<(&Expr, Kernel)> {
    let [text, search, by] = expr.as_call("REPLACE")? else {
        return None;
    };
    match (search.as_literal()?, by.as_literal()?) {
        (Literal::String(search), Literal::String(by)) if search.len() == 1 => {
            Some((text, replaced_length(search.as_bytes()[0], by)))
        }
        _ => None,
    }
}

/// Which rows a frame runs on.
enum Rows<'a> {
    All(&'a Batch),
    Picked(&'a Frame<'a>, FilterPredicate),
}

/// One run of a program over some rows; every node runs at most once.
struct Frame<'a> {
    program: &'a Program,
    source: Rows<'a>,
    rows: usize,
    memo: RefCell<Vec<Option<Value>>>,
}

impl<'a> Frame<'a> {
    fn new(program: &'a Program, source: Rows<'a>, rows: usize) -> Self {
        Self {
            program,
            source,
            rows,
            memo: RefCell::new(vec![None; program.nodes.len()]),
        }
    }

    /// A frame over the rows of this one that `mask` picks.
    fn pick(&'a self, mask: &BooleanBuffer) -> Self {
        let mask = BooleanArray::new(mask.clone(), None);
        let predicate = FilterBuilder::new(&mask).optimize().build();
        let rows = predicate.count();
        Self::new(self.program, Rows::Picked(self, predicate), rows)
    }

    fn known(&self, node: usize) -> Option<Value> {
        self.memo.borrow()[node].clone()
    }

    fn value(&self, node: usize) -> Result<Value, ExprError> {
        if let Some(value) = self.known(node) {
            return Ok(value);
        }
        let value = match self.picked(node)? {
            Some(value) => value,
            None => self.run(node)?,
        };
        self.memo.borrow_mut()[node] = Some(value.clone());
        Ok(value)
    }

    /// The value picked from the frame above, where that has it already.
    fn picked(&self, node: usize) -> Result<Option<Value>, ExprError> {
        let Rows::Picked(above, predicate) = &self.source else {
            return Ok(None);
        };
        let value = match &self.program.nodes[node].op {
            Op::Input(_) => above.value(node)?,
            _ => match above.known(node) {
                Some(value) => value,
                None => return Ok(None),
            },
        };
        Ok(Some(match value {
            Value::Column(array) => {
                Value::Column(predicate.filter(array.as_ref()).map_err(|e| kernel_error("CASE", &e))?)
            }
            scalar => scalar,
        }))
    }

    fn run(&self, node: usize) -> Result<Value, ExprError> {
        match &self.program.nodes[node].op {
            Op::Constant(array) => Ok(Value::Scalar(array.clone())),
            Op::Input(index) => match &self.source {
                Rows::All(batch) if *index < batch.columns().len() => Ok(Value::Column(batch.column(*index).clone())),
                _ => Err(ExprError::NotExecutable {
                    function: "column".to_owned(),
                    given: format!("position {index}"),
                }),
            },
            Op::Call { kernel, args } => {
                let values: Vec<Value> = args.iter().map(|a| self.value(*a)).collect::<Result<_, _>>()?;
                if values.iter().all(Value::is_scalar) {
                    return kernel(&values, 1).map(Value::Scalar);
                }
                kernel(&values, self.rows).map(Value::Column)
            }
            Op::Connective { and, left, right } => self.connective(*and, *left, *right),
            Op::Case {
                branches,
                otherwise,
                ty,
            } => {
                let lazy = branches[..]
                    .iter()
                    .enumerate()
                    .any(|(i, (c, v))| (i > 0 && self.fails(*c)) || self.fails(*v))
                    || self.fails(*otherwise);
                if lazy {
                    self.lazy_case(branches, *otherwise, ty)
                } else {
                    self.eager_case(branches, *otherwise)
                }
            }
        }
    }

    fn fails(&self, node: usize) -> bool {
        self.program.nodes[node].fails
    }

    fn connective(&self, and: bool, left: usize, right: usize) -> Result<Value, ExprError> {
        let name = if and { "AND" } else { "OR" };
        let first = self.value(left)?;
        let second = if self.fails(right) && self.known(right).is_none() {
            // rows that the first side decides do not run the second
            let decided = truth_of(&first, self.rows, !and)?;
            let open = !&decided;
            if open.count_set_bits() == self.rows {
                self.value(right)?
            } else {
                let picked = self.pick(&open);
                let part = if picked.rows == 0 {
                    None
                } else {
                    Some(picked.value(right)?)
                };
                let blank = BooleanArray::new(BooleanBuffer::new_set(self.rows), None);
                let blank: ArrayRef = if and {
                    Arc::new(blank)
                } else {
                    Arc::new(false_array(self.rows))
                };
                match part {
                    None => Value::Column(blank),
                    Some(part) => Value::Column(merge(&blank, &part.into_column(picked.rows)?, &open)?),
                }
            }
        } else {
            self.value(right)?
        };
        if first.is_scalar() && second.is_scalar() {
            return kleene(name, &first, &second, 1).map(Value::Scalar);
        }
        kleene(name, &first, &second, self.rows).map(Value::Column)
    }

    fn eager_case(&self, branches: &[(usize, usize)], otherwise: usize) -> Result<Value, ExprError> {
        let mut chosen = vec![];
        let mut result = None;
        for (condition, value) in branches {
            match self.value(*condition)? {
                // a constant condition settles the matter for all rows that are left
                scalar @ Value::Scalar(_) => {
                    if truth(&scalar, 1)?.value(0) {
                        result = Some(self.value(*value)?);
                        break;
                    }
                }
                column => chosen.push((truth(&column, self.rows)?, self.value(*value)?)),
            }
        }
        let mut result = match result {
            Some(value) => value,
            None => self.value(otherwise)?,
        };
        for (mask, value) in chosen.into_iter().rev() {
            let mask = BooleanArray::new(mask, None);
            let zipped = arrow_select::zip::zip(&mask, datum(&value).as_ref(), datum(&result).as_ref());
            result = Value::Column(zipped.map_err(|e| kernel_error("CASE", &e))?);
        }
        Ok(result)
    }

    /// Branch by branch, each on the rows that choose it.
    fn lazy_case(&self, branches: &[(usize, usize)], otherwise: usize, ty: &DataType) -> Result<Value, ExprError> {
        let mut left = BooleanBuffer::new_set(self.rows);
        let mut parts: Vec<ArrayRef> = vec![];
        let mut places = vec![(0usize, 0usize); self.rows];
        let mut place = |mask: &BooleanBuffer, value: Value, parts: &mut Vec<ArrayRef>| {
            let step = usize::from(!value.is_scalar());
            for (nth, row) in mask.set_indices().enumerate() {
                places[row] = (parts.len(), nth * step);
            }
            parts.push(value.array().clone());
        };
        for (condition, value) in branches {
            if left.count_set_bits() == 0 {
                break;
            }
            let chosen = if self.fails(*condition) && self.known(*condition).is_none() {
                let picked = self.pick(&left);
                let mask = truth(&picked.value(*condition)?, picked.rows)?;
                scatter(&mask, &left)
            } else {
                &truth(&self.value(*condition)?, self.rows)? & &left
            };
            if chosen.count_set_bits() > 0 {
                let picked = self.pick(&chosen);
                place(&chosen, picked.value(*value)?, &mut parts);
                left = &left & &!&chosen;
            }
        }
        if left.count_set_bits() > 0 {
            let picked = self.pick(&left);
            place(&left, picked.value(otherwise)?, &mut parts);
        }
        if parts.is_empty() {
            return Ok(Value::Column(new_empty_array(ty)));
        }
        let parts: Vec<&dyn Array> = parts.iter().map(AsRef::as_ref).collect();
        let merged = arrow_select::interleave::interleave(&parts, &places).map_err(|e| kernel_error("CASE", &e))?;
        Ok(Value::Column(merged))
    }
}

fn false_array(rows: usize) -> BooleanArray {
    BooleanArray::new(BooleanBuffer::new_unset(rows), None)
}

fn datum(value: &Value) -> Box<dyn Datum> {
    match value {
        Value::Column(array) => Box::new(array.clone()),
        Value::Scalar(array) => Box::new(Scalar::new(array.clone())),
    }
}

/// `part` at the rows of `mask`, `rest` elsewhere.
fn merge(rest: &ArrayRef, part: &ArrayRef, mask: &BooleanBuffer) -> Result<ArrayRef, ExprError> {
    let mut next = 0;
    let places: Vec<(usize, usize)> = mask
        .iter()
        .enumerate()
        .map(|(row, picked)| {
            if picked {
                next += 1;
                (1, next - 1)
            } else {
                (0, row)
            }
        })
        .collect();
    arrow_select::interleave::interleave(&[rest.as_ref(), part.as_ref()], &places).map_err(|e| kernel_error("AND", &e))
}

/// `part` (one bit for each set bit of `mask`) spread over the rows of `mask`.
fn scatter(part: &BooleanBuffer, mask: &BooleanBuffer) -> BooleanBuffer {
    let mut builder = BooleanBufferBuilder::new(mask.len());
    builder.append_n(mask.len(), false);
    for (nth, row) in mask.set_indices().enumerate() {
        if part.value(nth) {
            builder.set_bit(row, true);
        }
    }
    builder.finish()
}

/// Rows where a BOOLEAN is true.
fn truth(value: &Value, rows: usize) -> Result<BooleanBuffer, ExprError> {
    truth_of(value, rows, true)
}

/// Rows where a BOOLEAN is `wanted` (and not NULL).
fn truth_of(value: &Value, rows: usize, wanted: bool) -> Result<BooleanBuffer, ExprError> {
    let array = value
        .array()
        .as_any()
        .downcast_ref::<BooleanArray>()
        .ok_or_else(|| super::value::mismatch("condition", value.array()))?;
    let values = if wanted {
        array.values().clone()
    } else {
        !array.values()
    };
    let bits = match array.nulls() {
        Some(nulls) => &values & nulls.inner(),
        None => values,
    };
    Ok(match value {
        Value::Scalar(_) if bits.value(0) => BooleanBuffer::new_set(rows),
        Value::Scalar(_) => BooleanBuffer::new_unset(rows),
        Value::Column(_) => bits,
    })
}

fn kleene(name: &str, a: &Value, b: &Value, rows: usize) -> Result<ArrayRef, ExprError> {
    // a constant side decides or vanishes
    for (side, other) in [(a, b), (b, a)] {
        if side.is_scalar() && !side.is_null_scalar() && !other.is_scalar() {
            let value = truth(side, 1)?.value(0);
            return if value == (name == "AND") {
                Ok(other.array().clone())
            } else {
                let bits = if value {
                    BooleanBuffer::new_set(rows)
                } else {
                    BooleanBuffer::new_unset(rows)
                };
                Ok(Arc::new(BooleanArray::new(bits, None)))
            };
        }
    }
    let (a, b) = (a.clone().into_column(rows)?, b.clone().into_column(rows)?);
    let boolean = |array: &ArrayRef| {
        array
            .as_any()
            .downcast_ref::<BooleanArray>()
            .cloned()
            .ok_or_else(|| super::value::mismatch(name, array))
    };
    let (a, b) = (boolean(&a)?, boolean(&b)?);
    let result = if name == "AND" {
        arrow_arith::boolean::and_kleene(&a, &b)
    } else {
        arrow_arith::boolean::or_kleene(&a, &b)
    };
    Ok(Arc::new(result.map_err(|e| kernel_error(name, &e))?))
}
