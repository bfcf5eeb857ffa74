;; Answers without having asked for its input.
(module
  (import "fl_imps" "__insert_response" (func $respond (param i32 i32)))
  (data (i32.const 1024) "\"0123\"")
  (func (export "__invoke") (param i32) (result i32)
    (call $respond (i32.const 1024) (i32.const 6))
    (i32.const 0)))
