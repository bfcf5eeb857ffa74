;; Answers "kept small" when its table cannot become as large as it wants.
(module
  (import "fl_imps" "__insert_response" (func $respond (param i32 i32)))
  (table 1 funcref)
  (data (i32.const 1024) "\"kept small\"")
  (func (export "__invoke") (param i32) (result i32)
    (if (i32.ne (table.grow (ref.null func) (i32.const 1000000)) (i32.const -1)) (then unreachable))
    (call $respond (i32.const 1024) (i32.const 12))
    (i32.const 0)))
