;; Writes 4096 bytes to its output again and again, whatever it is answered.
(component
  (core module $main
    (import "host" "memory" (memory 2))
    (import "host" "get-stdout" (func $stdout (result i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (func (export "run") (result i32)
      (local $out i32)
      (local.set $out (call $stdout))
      (loop $more
        (call $write (local.get $out) (i32.const 1024) (i32.const 4096) (i32.const 16))
        (br $more))
      unreachable))
)
