;; Wants a function that no host has.
(module
  (import "env" "summon" (func (param i32)))
  (func (export "callHandle") (param i32 i32) (result i64) (i64.const 0)))
