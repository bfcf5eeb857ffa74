;; Ends itself as one that failed, from within a call.
(component
  (core module $main
    (import "host" "exit" (func $exit (param i32)))
    (func $deeper (call $exit (i32.const 1)) unreachable)
    (func (export "run") (result i32) (call $deeper) (i32.const 0)))
)
