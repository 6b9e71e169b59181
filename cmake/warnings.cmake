# Warnings for our own code only. Linked PRIVATE through llmproxy_options.
add_library(llmproxy_warnings INTERFACE)
target_compile_options(llmproxy_warnings INTERFACE
    -Wall -Wextra -Wpedantic -Wshadow)
if(CMAKE_CXX_COMPILER_ID STREQUAL "GNU")
    # GCC 12 warns about overlapping copies inside its own std::string (GCC bug 105651).
    target_compile_options(llmproxy_warnings INTERFACE -Wno-restrict)
endif()
if(LLMPROXY_WERROR)
    # An invalid precompiled header costs time, not correctness.
    target_compile_options(llmproxy_warnings INTERFACE -Werror -Wno-error=invalid-pch)
endif()
