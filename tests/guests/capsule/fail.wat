;; Answers that it failed.
(module
  (data (i32.const 1024) "Fno luck")
  (func (export "callHandle") (param i32 i32) (result i64) (call $pack (i32.const 1024) (i32.const 8))))
