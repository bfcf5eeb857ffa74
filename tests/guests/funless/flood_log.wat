;; Logs 1000 lines of 1000 bytes, then "the end", and finishes.
(module
  (import "fl_imps" "__console_log" (func $log (param i32 i32)))
  (import "fl_imps" "__insert_response" (func $respond (param i32 i32)))
  (data (i32.const 4096) "the end{}")
  (func (export "__invoke") (param i32) (result i32) (local $left i32)
    (memory.fill (i32.const 1024) (i32.const 46) (i32.const 1000))
    (local.set $left (i32.const 1000))
    (loop $more
      (call $log (i32.const 1024) (i32.const 1000))
      (local.set $left (i32.sub (local.get $left) (i32.const 1)))
      (br_if $more (local.get $left)))
    (call $log (i32.const 4096) (i32.const 7))
    (call $respond (i32.const 4103) (i32.const 2))
    (i32.const 0)))
