;; Sleeps without end.
(component
  (core module $main
    (import "host" "wait" (func $wait (param i64) (result i32)))
    (import "host" "block" (func $block (param i32)))
    (func (export "run") (result i32)
      (loop $again
        (call $block (call $wait (i64.const 100000000000)))
        (br $again))
      unreachable))
)
