;; Answers with bytes that begin inside of its memory and end outside.
(module
  (func (export "callHandle") (param i32 i32) (result i64) (call $pack (i32.const 131070) (i32.const 100))))
