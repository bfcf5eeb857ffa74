;; Answers what differs from run to run: 8 bytes of clock, 16 random bytes, the bits of a NaN from 0/0.
(module
  (import "wasi_snapshot_preview1" "clock_time_get" (func $clock (param i32 i64 i32) (result i32)))
  (import "wasi_snapshot_preview1" "random_get" (func $random (param i32 i32) (result i32)))
  (func $quotient (param $a f32) (param $b f32) (result f32) (f32.div (local.get $a) (local.get $b)))
  (func (export "callHandle") (param i32 i32) (result i64)
    (i32.store8 (i32.const 1024) (i32.const 83))
    (drop (call $clock (i32.const 0) (i64.const 1) (i32.const 1025)))
    (drop (call $random (i32.const 1033) (i32.const 16)))
    (f32.store (i32.const 1049) (call $quotient (f32.const 0) (f32.const 0)))
    (call $pack (i32.const 1024) (i32.const 29))))
