;; Copies its input to its output, 4096 bytes at a time.
(component
  (core module $main
    (import "host" "memory" (memory 2))
    (import "host" "get-stdin" (func $stdin (result i32)))
    (import "host" "get-stdout" (func $stdout (result i32)))
    (import "host" "read" (func $read (param i32 i64 i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (func (export "run") (result i32)
      (local $in i32) (local $out i32)
      (local.set $in (call $stdin))
      (local.set $out (call $stdout))
      (loop $more
        (call $read (local.get $in) (i64.const 4096) (i32.const 0))
        ;; A stream error is the end.
        (if (i32.load8_u (i32.const 0)) (then (return (i32.const 0))))
        (call $write (local.get $out) (i32.load (i32.const 4)) (i32.load (i32.const 8)) (i32.const 16))
        (if (i32.load8_u (i32.const 16)) (then (return (i32.const 1))))
        (br $more))
      unreachable))
)
