;; Answers "kept small" when its table cannot become as large as it wants.
(module
  (table 1 funcref)
  (data (i32.const 1024) "Skept small")
  (func (export "callHandle") (param i32 i32) (result i64)
    (if (i32.ne (table.grow (ref.null func) (i32.const 1000000)) (i32.const -1)) (then unreachable))
    (call $pack (i32.const 1024) (i32.const 11))))
