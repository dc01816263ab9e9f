@echo off
rem Start the app on Windows. Written for Windows 10 and 11, but NOT RUN there yet: please report what you find.
rem Makes .venv and installs what is needed the first time; later starts need no network.
setlocal
cd /d "%~dp0.."

if exist .venv\Scripts\python.exe goto installed
set "PY=py -3.12"
%PY% -c "import sys" >nul 2>nul || set "PY=py -3.11"
%PY% -c "import sys" >nul 2>nul || set "PY=python"
%PY% -c "import sys; sys.exit(sys.version_info < (3, 11))" >nul 2>nul || (
    echo svd-ui: No Python 3.11 or newer found. Install it from https://www.python.org/downloads/ and run this again.
    exit /b 1
)
%PY% -m venv .venv || exit /b 1

:installed
fc /b requirements.txt .venv\installed.txt >nul 2>nul && goto start
nvidia-smi >nul 2>nul
if errorlevel 1 (
    rem Without an NVIDIA GPU PyPI's wheel is the CPU build on Windows; xformers is of no use.
    findstr /v /b "xformers" requirements.txt > .venv\wanted.txt
) else (
    rem With one, the CUDA build comes from PyTorch's index.
    copy /y requirements.txt .venv\wanted.txt >nul
    for /f "tokens=1 delims=;" %%T in ('findstr /b "torch==" requirements.txt') do (
        .venv\Scripts\python -m pip install --index-url https://download.pytorch.org/whl/cu130 "%%T" || exit /b 1
    )
)
.venv\Scripts\python -m pip install --quiet -r .venv\wanted.txt || exit /b 1
copy /y requirements.txt .venv\installed.txt >nul

:start
.venv\Scripts\python -m svd_ui serve %*
