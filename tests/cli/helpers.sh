# For the tests of the program: sourced with $sparknet set, in a folder of the test's own.
fail() { echo "FAILED: $*" >&2; exit 1; }

# is STATUS TEXT ARGUMENTS...: sparknet ends with the status and its messages hold the text, if any is given.
is() {
  local status=0 text=$2 expected=$1
  shift 2
  "$sparknet" "$@" >out.txt 2>err.txt </dev/null || status=$?
  [[ $status == "$expected" ]] || fail "sparknet $*: exit status $status, not $expected: $(cat out.txt err.txt)"
  [[ -z $text ]] || grep -qF -- "$text" out.txt err.txt || fail "sparknet $*: does not say \"$text\": $(cat out.txt err.txt)"
  if [[ $status == 0 ]]; then return; fi
  head -n 1 err.txt | grep -q '^sparknet: ' || fail "sparknet $*: its error is $(cat err.txt)"
}

# stop SIGNAL TEXT ARGUMENTS...: starts sparknet, sends it the signal once it has said the text, and leaves its exit
# status in $status.
stop() {
  local signal=$1 text=$2
  shift 2
  rm -f out.txt  # or the text may be found in what was there before
  "$sparknet" "$@" >out.txt 2>err.txt </dev/null &
  local run=$!
  for _ in $(seq 600); do
    if grep -sqF -- "$text" out.txt || ! kill -0 $run 2>/dev/null; then break; fi
    sleep 0.1
  done
  kill -"$signal" $run || fail "sparknet $*: ended before it said \"$text\": $(cat out.txt err.txt)"
  status=0
  wait $run || status=$?
}
