;; Logs 1000 lines of 1000 bytes, then "the end", and finishes.
(module
  (import "env" "hostLogString" (func $log (param i32 i32) (result i32)))
  (data (i32.const 4096) "the endS")
  (func (export "callHandle") (param i32 i32) (result i64) (local $left i32)
    (memory.fill (i32.const 1024) (i32.const 46) (i32.const 1000))
    (local.set $left (i32.const 1000))
    (loop $more
      (drop (call $log (i32.const 1024) (i32.const 1000)))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $more (local.get $left)))
    (drop (call $log (i32.const 4096) (i32.const 7)))
    (call $pack (i32.const 4103) (i32.const 1))))
