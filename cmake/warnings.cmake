# Warnings for our own code only. Linked PRIVATE through llmproxy_options.
add_library(llmproxy_warnings INTERFACE)
target_compile_options(llmproxy_warnings INTERFACE
    -Wall -Wextra -Wpedantic -Wshadow)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # Asio allocates coroutine frames through its own operator new: a false positive at -O1 and above.
    # GCC 12 warns about overlapping copies inside its own std::string (GCC bug 105651).
    target_compile_options(llmproxy_warnings INTERFACE -Wno-restrict -Wno-mismatched-new-delete)
endif()
if(LLMPROXY_WERROR)
    # An invalid precompiled header costs time, not correctness.
    target_compile_options(llmproxy_warnings INTERFACE -Werror -Wno-error=invalid-pch)
endif()
