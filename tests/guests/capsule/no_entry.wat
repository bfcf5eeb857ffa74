;; Has all that a guest needs, but no handler.
(module
  (func (export "callMe") (param i32 i32) (result i64) (i64.const 0)))
