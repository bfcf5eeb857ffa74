;; Has no entry.
(module
  (import "fl_imps" "__get_input_data" (func (param i32)))
  (func (export "invoke") (param i32) (result i32) (i32.const 0)))
