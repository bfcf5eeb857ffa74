;; Sleeps for an hour, again and again.
(module
  (import "wasi_snapshot_preview1" "poll_oneoff" (func $poll (param i32 i32 i32 i32) (result i32)))
  (memory (export "memory") 1)
  ;; At 0 a subscription: clock 1, 3600 s.
  (data (i32.const 16) "\01")
  (func (export "_start")
    (i64.store (i32.const 24) (i64.const 3600000000000))
    (loop $again
      (if (call $poll (i32.const 0) (i32.const 64) (i32.const 1) (i32.const 128)) (then unreachable))
      (br $again))))
