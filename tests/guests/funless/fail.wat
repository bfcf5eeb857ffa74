;; Answers that it failed.
(module
  (import "fl_imps" "__insert_error" (func $fail (param i32 i32)))
  (data (i32.const 1024) "no luck")
  (func (export "__invoke") (param i32) (result i32)
    (call $fail (i32.const 1024) (i32.const 7))
    (i32.const 1)))
