//! What kernels take and give: a column, or one value that stands for every row.

use super::ExprError;
use arrow_array::cast::AsArray;
use arrow_array::types::ArrowPrimitiveType;
use arrow_array::{Array, ArrayRef, BinaryArray, BooleanArray, PrimitiveArray, StringArray};
use arrow_buffer::{NullBuffer, ScalarBuffer};
use arrow_schema::ArrowError;

/// An evaluated expression.
#[derive(Debug, Clone)]
pub enum Value {
    /// One value per row.
    Column(ArrayRef),
    /// An array of one value that holds for every row.
    Scalar(ArrayRef),
}

impl Value {
    /// The rows, or the one value.
    pub fn array(&self) -> &ArrayRef {
        match self {
            Self::Column(a) | Self::Scalar(a) => a,
        }
    }

    /// Whether it stands for every row.
    pub fn is_scalar(&self) -> bool {
        matches!(self, Self::Scalar(_))
    }

    /// Whether it is NULL in every row because it is one NULL.
    pub fn is_null_scalar(&self) -> bool {
        matches!(self, Self::Scalar(a) if a.is_null(0))
    }

    /// The same value with another array of the same length.
    pub fn with(&self, array: ArrayRef) -> Self {
        match self {
            Self::Column(_) => Self::Column(array),
            Self::Scalar(_) => Self::Scalar(array),
        }
    }

    /// A column of `rows` rows.
    pub fn into_column(self, rows: usize) -> Result<ArrayRef, ExprError> {
        match self {
            Self::Column(a) => Ok(a),
            Self::Scalar(a) if rows == 1 => Ok(a),
            Self::Scalar(a) => {
                let zeros = arrow_array::UInt32Array::from(vec![0; rows]);
                arrow_select::take::take(a.as_ref(), &zeros, None).map_err(|e| kernel_error("constant", &e))
            }
        }
    }
}

/// Arrow's refusal (offsets beyond 2 GiB) as ours.
pub fn kernel_error(function: &str, error: &ArrowError) -> ExprError {
    ExprError::Kernel {
        function: function.to_owned(),
        problem: error.to_string(),
    }
}

/// A kernel met an array of a type that it was not built for: a plan of another version.
pub fn mismatch(function: &str, array: &dyn Array) -> ExprError {
    ExprError::NotExecutable {
        function: function.to_owned(),
        given: array.data_type().to_string(),
    }
}

/// Reader of one argument of plain values.
#[derive(Clone, Copy)]
pub struct Primitives<'a, T: ArrowPrimitiveType> {
    values: &'a ScalarBuffer<T::Native>,
    nulls: Option<&'a NullBuffer>,
    step: usize,
}

impl<'a, T: ArrowPrimitiveType> Primitives<'a, T> {
    /// Reads `value` as rows of `T`.
    pub fn new(value: &'a Value) -> Result<Self, ExprError> {
        let array: &PrimitiveArray<T> = value
            .array()
            .as_primitive_opt()
            .ok_or_else(|| mismatch("argument", value.array()))?;
        Ok(Self {
            values: array.values(),
            nulls: array.nulls(),
            step: usize::from(!value.is_scalar()),
        })
    }

    /// The value of a row, NULL as `None`.
    #[inline]
    pub fn get(&self, row: usize) -> Option<T::Native> {
        let i = row * self.step;
        match self.nulls {
            Some(n) if n.is_null(i) => None,
            _ => Some(self.values[i]),
        }
    }
}

/// Reader of one argument of strings.
#[derive(Clone, Copy)]
pub struct Strings<'a> {
    array: &'a StringArray,
    step: usize,
}

impl<'a> Strings<'a> {
    /// Reads `value` as strings.
    pub fn new(value: &'a Value) -> Result<Self, ExprError> {
        let array = value
            .array()
            .as_string_opt::<i32>()
            .ok_or_else(|| mismatch("argument", value.array()))?;
        Ok(Self {
            array,
            step: usize::from(!value.is_scalar()),
        })
    }

    /// The string of a row, NULL as `None`.
    #[inline]
    pub fn get(&self, row: usize) -> Option<&'a str> {
        let i = row * self.step;
        (!self.array.is_null(i)).then(|| self.array.value(i))
    }
}

/// Reader of one argument of bytes; text is read as its UTF-8.
#[derive(Clone, Copy)]
pub struct Bytes<'a> {
    array: Either<'a>,
    step: usize,
}

#[derive(Clone, Copy)]
enum Either<'a> {
    Binary(&'a BinaryArray),
    Text(&'a StringArray),
}

impl<'a> Bytes<'a> {
    /// Reads `value` as bytes.
    pub fn new(value: &'a Value) -> Result<Self, ExprError> {
        let array = value.array();
        let array = match (array.as_binary_opt::<i32>(), array.as_string_opt::<i32>()) {
            (Some(binary), _) => Either::Binary(binary),
            (_, Some(text)) => Either::Text(text),
            _ => return Err(mismatch("argument", array)),
        };
        Ok(Self {
            array,
            step: usize::from(!value.is_scalar()),
        })
    }

    /// The bytes of a row, NULL as `None`.
    #[inline]
    pub fn get(&self, row: usize) -> Option<&'a [u8]> {
        let i = row * self.step;
        match self.array {
            Either::Binary(array) => (!array.is_null(i)).then(|| array.value(i)),
            Either::Text(array) => (!array.is_null(i)).then(|| array.value(i).as_bytes()),
        }
    }
}

/// Reader of one argument of truth values.
#[derive(Clone, Copy)]
pub struct Booleans<'a> {
    array: &'a BooleanArray,
    step: usize,
}

impl<'a> Booleans<'a> {
    /// Reads `value` as truth values.
    pub fn new(value: &'a Value) -> Result<Self, ExprError> {
        let array = value
            .array()
            .as_boolean_opt()
            .ok_or_else(|| mismatch("argument", value.array()))?;
        Ok(Self {
            array,
            step: usize::from(!value.is_scalar()),
        })
    }

    /// The value of a row, NULL as `None`.
    #[inline]
    pub fn get(&self, row: usize) -> Option<bool> {
        let i = row * self.step;
        (!self.array.is_null(i)).then(|| self.array.value(i))
    }
}
