;; Logs a thousand dots a thousand times, then "the end".
(component
  (core module $main
    (import "host" "memory" (memory 2))
    (import "host" "get-stderr" (func $stderr (result i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (data (i32.const 8192) "the end\0a")
    (func (export "run") (result i32)
      (local $err i32) (local $left i32)
      (memory.fill (i32.const 1024) (i32.const 46) (i32.const 1000))
      (local.set $err (call $stderr))
      (local.set $left (i32.const 1000))
      (loop $more
        (call $write (local.get $err) (i32.const 1024) (i32.const 1000) (i32.const 16))
        (br_if $more (local.tee $left (i32.sub (local.get $left) (i32.const 1)))))
      (call $write (local.get $err) (i32.const 8192) (i32.const 8) (i32.const 16))
      (i32.const 0)))
)
