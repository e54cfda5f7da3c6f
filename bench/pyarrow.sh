#!/usr/bin/env bash
# Install pyarrow, once, into a Python environment in $BENCH_HOME, and print its interpreter: another reader and writer of parquet files.
#   FLOTT_PYARROW=$(bench/pyarrow.sh) cargo test -p flott-cli --test it -- --ignored parquet::
set -euo pipefail
. "$(dirname "$0")/env.sh"
python=$BENCH_HOME/pyarrow/bin/python
if ! "$python" -c 'import pyarrow' 2>/dev/null; then
  python3 -m venv "$BENCH_HOME/pyarrow" >&2
  persist "$BENCH_HOME/pyarrow/bin/pip" install -q "pyarrow==$PYARROW_VERSION" >&2
fi
echo "$python"
