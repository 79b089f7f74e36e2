#!/bin/sh
# Usage: check_isa_symbols.sh OBJECT...
#
# Units compiled for an instruction set that not every machine has may define nothing but the accessor of their table:
# of an inline function that two units define the linker keeps either, and everybody would run it. Nor may they have
# constructors, which run before anybody has asked what the machine can do.
set -eu
status=0
for object in "$@"; do
  nm -C --defined-only "$object" > /dev/null  # or a broken object would look clean
  shared=$(nm -C --defined-only "$object" | grep -E '^[0-9a-f]* +[A-Zuvw] ' |
    grep -vE ' T sparknet::kernels::cpu::hot_v[34]\(\)$' || true)
  early=$(nm --defined-only "$object" | grep -E '_GLOBAL__sub_I|__cxx_global_var_init' || true)
  accessors=$(nm -C --defined-only "$object" | grep -cE ' T sparknet::kernels::cpu::hot_v[34]\(\)$' || true)
  if [ -n "$shared$early" ] || [ "$accessors" != 1 ]; then
    echo "$object: $accessors accessors of a table (1 expected); not local, or run at start:"
    echo "$shared$early"
    status=1
  fi
done
[ "$#" -gt 0 ] || { echo "no objects given"; status=1; }
exit $status
