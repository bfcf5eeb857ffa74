;; Sleeps without end.
(component
  (core module $main
    (import "host" "wait" (func $wait (param i64) (result i32)))
    (import "host" "block" (func $block (param i32)))
    (import "host" "drop-pollable" (func $drop (param i32)))
    (func (export "run") (result i32) (local $pollable i32)
      (loop $again
        (local.set $pollable (call $wait (i64.const 100000000000)))
        (call $block (local.get $pollable))
        (call $drop (local.get $pollable))
        (br $again))
      unreachable))
)
