;; Answers with four MiB.
(module
  (import "fl_imps" "__insert_response" (func $respond (param i32 i32)))
  (func (export "__invoke") (param i32) (result i32)
    (drop (memory.grow (i32.const 64)))
    (memory.fill (i32.const 1024) (i32.const 49) (i32.const 4194304))
    (call $respond (i32.const 1024) (i32.const 4194304))
    (i32.const 0)))
