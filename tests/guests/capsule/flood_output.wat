;; Answers with four MiB.
(module
  (func (export "callHandle") (param i32 i32) (result i64)
    (drop (memory.grow (i32.const 64)))
    (i32.store8 (i32.const 1024) (i32.const 83))
    (call $pack (i32.const 1024) (i32.const 4194304))))
