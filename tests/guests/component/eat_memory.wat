;; Takes one page of memory after the other. When it gets no more, it says so as allocators do, and traps.
(component
  (core module $main
    (import "host" "memory" (memory 2))
    (import "host" "get-stderr" (func $stderr (result i32)))
    (import "host" "write" (func $write (param i32 i32 i32 i32)))
    (data (i32.const 1024) "memory allocation of 65536 bytes failed\0a")
    (func (export "run") (result i32)
      (loop $more
        (br_if $more (i32.ne (memory.grow (i32.const 1)) (i32.const -1))))
      (call $write (call $stderr) (i32.const 1024) (i32.const 40) (i32.const 16))
      unreachable))
)
