;; Wants a function that no host has.
(module
  (import "env" "summon" (func (param i32)))
  (func (export "__invoke") (param i32) (result i32) (i32.const 0)))
