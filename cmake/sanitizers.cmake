# Sanitizers for our own code only. Linked PRIVATE through llmproxy_options.
add_library(llmproxy_sanitizers INTERFACE)
if(LLMPROXY_SANITIZE STREQUAL "address")
    # The four left out triple the compile time of coroutines and find nothing that ASan does not.
    target_compile_options(llmproxy_sanitizers INTERFACE
        -fsanitize=address,undefined -fno-sanitize=null,alignment,object-size,vptr
        -fno-sanitize-recover=all -fno-omit-frame-pointer)
    target_link_options(llmproxy_sanitizers INTERFACE -fsanitize=address,undefined)
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
        # GCC 12 takes a coroutine frame's operator new and delete for a mismatch, and under
        # sanitizers reports variables as uninitialised that are not.
        target_compile_options(llmproxy_sanitizers INTERFACE
            -Wno-mismatched-new-delete -Wno-maybe-uninitialized)
    endif()
elseif(LLMPROXY_SANITIZE STREQUAL "thread")
    target_compile_options(llmproxy_sanitizers INTERFACE -fsanitize=thread -fno-omit-frame-pointer)
    target_link_options(llmproxy_sanitizers INTERFACE -fsanitize=thread)
    if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
        # Asio's fences are not understood by GCC's ThreadSanitizer; its own code has none that matter here.
        target_compile_options(llmproxy_sanitizers INTERFACE
            -Wno-tsan -Wno-mismatched-new-delete -Wno-maybe-uninitialized)
    endif()
elseif(NOT LLMPROXY_SANITIZE STREQUAL "")
    message(FATAL_ERROR "LLMPROXY_SANITIZE is empty, address or thread, not '${LLMPROXY_SANITIZE}'")
endif()
