@echo off
rem Bring this checkout up to date on Windows. Written for Windows 10 and 11, but NOT RUN there yet: please report what you find.
rem The next start of scripts\run.bat installs what changed.
setlocal
cd /d "%~dp0.."

where git >nul 2>nul || (
    echo svd-ui: git is not installed, and the update comes through it: https://git-scm.com/download/win
    exit /b 1
)
git rev-parse --abbrev-ref "@{upstream}" >nul 2>nul || (
    echo svd-ui: This folder is not a git checkout, or its branch follows no remote: download the new version.
    exit /b 1
)
git diff --quiet HEAD || (
    echo svd-ui: Files here were changed, 'git status' lists them: commit them or put them aside with 'git stash'.
    exit /b 1
)
rem One line, read as a whole: pulling may replace this file while it runs.
git pull --ff-only && (echo svd-ui: Up to date; CHANGELOG.md says what is new. Start the app with scripts\run.bat.) & exit /b
