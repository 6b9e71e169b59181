#include "process_figures.hpp"

#include "llmproxy/telemetry/process.hpp"

#include <array>
#include <cerrno>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <string>
#include <sys/resource.h>
#include <system_error>
#include <unistd.h>
#include <vector>

namespace llmproxy::telemetry {
namespace {

// Fields of /proc/self/stat behind the program's name, which may hold anything; the first is the state (field 3).
constexpr std::size_t kUserTicks = 14 - 3;
constexpr std::size_t kSystemTicks = 15 - 3;
constexpr std::size_t kThreads = 20 - 3;
constexpr std::size_t kStartTicks = 22 - 3;
constexpr std::size_t kVirtualBytes = 23 - 3;
constexpr std::size_t kResidentPages = 24 - 3;

std::vector<double> stat_fields()
{
    std::ifstream file("/proc/self/stat");
    const std::string text{std::istreambuf_iterator<char>(file), {}};
    std::vector<double> fields;
    const auto name_end = text.rfind(')');
    if (name_end == std::string::npos) {
        return fields;
    }
    std::size_t at = name_end + 2;
    while (at < text.size()) {
        const auto end = std::min(text.find(' ', at), text.size());
        char* stop = nullptr;
        fields.push_back(std::strtod(text.c_str() + at, &stop));
        at = end + 1;
    }
    return fields;
}

/// When the machine was booted, since the Unix epoch; 0 if that is not known.
double boot_time()
{
    std::ifstream file("/proc/stat");
    std::string word;
    double time = 0;
    while (file >> word) {
        if (word == "btime") {
            file >> time;
            break;
        }
    }
    return time;
}

std::size_t open_descriptors()
{
    std::error_code error;
    const std::filesystem::directory_iterator all("/proc/self/fd", error);
    if (error) {
        return 0;
    }
    const auto count = std::distance(begin(all), end(all));
    return static_cast<std::size_t>(count) - 1;  // without the one that this look took
}

}  // namespace

ProcessFigures read_process()
{
    ProcessFigures figures;
    const auto fields = stat_fields();
    if (fields.size() > kResidentPages) {
        const auto ticks = static_cast<double>(::sysconf(_SC_CLK_TCK));
        const auto page = static_cast<double>(::sysconf(_SC_PAGESIZE));
        ProcessFigures::Stat stat;
        stat.cpu_seconds = (fields[kUserTicks] + fields[kSystemTicks]) / ticks;
        stat.threads = static_cast<std::uint64_t>(fields[kThreads]);
        stat.virtual_bytes = static_cast<std::uint64_t>(fields[kVirtualBytes]);
        stat.resident_bytes = static_cast<std::uint64_t>(fields[kResidentPages] * page);
        if (static const double boot = boot_time(); boot > 0) {
            stat.started = boot + fields[kStartTicks] / ticks;
        }
        figures.stat = stat;
    }
    if (const auto open = open_descriptors(); open != 0) {
        figures.open_descriptors = open;
    }
    rlimit limit{};
    if (::getrlimit(RLIMIT_NOFILE, &limit) == 0 && limit.rlim_cur != RLIM_INFINITY) {
        figures.most_descriptors = limit.rlim_cur;
    }
    return figures;
}

void show_process(SeriesStore& store)
{
    const auto figures = read_process();
    if (figures.stat) {
        store.show(Metric::process_cpu, {}, figures.stat->cpu_seconds);
        store.show(Metric::process_threads, {}, static_cast<double>(figures.stat->threads));
        store.show(Metric::process_virtual, {}, static_cast<double>(figures.stat->virtual_bytes));
        store.show(Metric::process_resident, {}, static_cast<double>(figures.stat->resident_bytes));
        if (figures.stat->started) {
            store.show(Metric::process_start, {}, *figures.stat->started);
        }
    }
    if (figures.open_descriptors) {
        store.show(Metric::process_open_fds, {}, static_cast<double>(*figures.open_descriptors));
    }
    if (figures.most_descriptors) {
        store.show(Metric::process_max_fds, {}, static_cast<double>(*figures.most_descriptors));
    }
}

}  // namespace llmproxy::telemetry
