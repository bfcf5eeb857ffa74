;; Answers with the text that it gets.
(module
  (func (export "callHandle") (param $at i32) (param $size i32) (result i64) (local $to i32)
    (local.set $to (call $malloc (i32.add (local.get $size) (i32.const 1))))
    (i32.store8 (local.get $to) (i32.const 83))
    (memory.copy (i32.add (local.get $to) (i32.const 1)) (local.get $at) (local.get $size))
    (call $pack (local.get $to) (i32.add (local.get $size) (i32.const 1)))))
