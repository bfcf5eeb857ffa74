;; Answers with bytes at a negative place.
(module
  (func (export "callHandle") (param i32 i32) (result i64) (call $pack (i32.const -1) (i32.const 1))))
