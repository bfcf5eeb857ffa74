;; Logs 200,000 lines, "line 000000" and so on, each with a call of its own, and then "no end" without a line break.
(module
  (import "wasi_snapshot_preview1" "fd_write" (func $write (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  (data (i32.const 0) "\20\00\00\00\0c\00\00\00")
  (data (i32.const 32) "line 000000\n")
  (data (i32.const 64) "no end")
  (func (export "_start") (local $number i32) (local $rest i32) (local $place i32)
    (loop $lines
      (local.set $rest (local.get $number))
      (local.set $place (i32.const 42))
      (loop $digits
        (i32.store8 (local.get $place) (i32.add (i32.const 48) (i32.rem_u (local.get $rest) (i32.const 10))))
        (local.set $rest (i32.div_u (local.get $rest) (i32.const 10)))
        (local.set $place (i32.sub (local.get $place) (i32.const 1)))
        (br_if $digits (i32.ge_u (local.get $place) (i32.const 37))))
      (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))
      (local.set $number (i32.add (local.get $number) (i32.const 1)))
      (br_if $lines (i32.lt_u (local.get $number) (i32.const 200000))))
    (i32.store (i32.const 0) (i32.const 64))
    (i32.store (i32.const 4) (i32.const 6))
    (drop (call $write (i32.const 2) (i32.const 0) (i32.const 1) (i32.const 8)))))
