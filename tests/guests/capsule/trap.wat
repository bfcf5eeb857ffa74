;; Traps two calls deep.
(module
  (func $inner unreachable)
  (func $outer (export "callHandle") (param i32 i32) (result i64) (call $inner) (i64.const 0)))
