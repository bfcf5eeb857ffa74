;; Traps two calls deep.
(component
  (core module $main
    (func $inner unreachable)
    (func $outer (export "run") (result i32) (call $inner) (i32.const 0)))
)
