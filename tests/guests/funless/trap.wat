;; Traps two calls deep.
(module
  (import "fl_imps" "__get_input_data" (func (param i32)))
  (func $inner unreachable)
  (func $outer (export "__invoke") (param i32) (result i32) (call $inner) (i32.const 0)))
